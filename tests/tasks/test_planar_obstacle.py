# SPDX-License-Identifier: BSD-3-Clause
"""The obstacle task is its own mirror image, and both ways round the disc solve it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.tasks.obstacle_paths import AROUND, MIRROR, STRAIGHT
from trudi_rsl.tasks import find_modes
from trudi_rsl.tasks import planar_obstacle as obstacle
from trudi_rsl.tasks.planar_obstacle import GOAL, START, PlanarObstacleEnv, in_obstacle, reward

TASK = "PlanarObstacle-v0"


def run(env: gym.Env, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict]:
    """Return the observations and rewards of an episode under the actions, and its last ``info``."""
    obs, info = env.reset(seed=0)
    seen, rewards = [obs], []
    for action in actions:
        obs, value, terminated, truncated, info = env.step(action.astype(np.float32))
        seen.append(obs)
        rewards.append(value)
        if terminated or truncated:
            break
    return np.array(seen), np.array(rewards), info


def test_mirrored_states_and_actions_lead_bit_by_bit_to_mirrored_states_with_the_same_reward() -> None:
    generator = np.random.default_rng(0)
    positions = generator.uniform(np.negative(obstacle.ARENA), obstacle.ARENA, (100_000, 2))
    actions = generator.uniform(-1.5, 1.5, (100_000, 2))
    reached, mirrored = obstacle.advance(positions, actions), obstacle.advance(positions * MIRROR, actions * MIRROR)
    assert np.array_equal(mirrored, reached * MIRROR)
    assert np.array_equal(in_obstacle(mirrored), in_obstacle(reached))
    assert np.array_equal(reward(positions * MIRROR, mirrored), reward(positions, reached))
    assert in_obstacle(reached).any()
    assert (obstacle.goal_distance(reached) < obstacle.GOAL_RADIUS).any()


def test_both_ways_round_the_disc_succeed_with_the_same_return_and_straight_on_lies_the_disc() -> None:
    env = gym.make(TASK, fixed_start=True)
    left, right, straight = (run(env, actions) for actions in (AROUND, AROUND * MIRROR, STRAIGHT))
    assert [episode[2]["is_success"] for episode in (left, right, straight)] == [True, True, False]
    assert np.array_equal(left[0] * MIRROR, right[0]) and np.array_equal(left[1], right[1])
    assert len(straight[1]) == 1
    assert straight[1].sum() < left[1].sum() - obstacle.COLLISION_COST
    modes = find_modes(TASK)
    assert [modes.classify(left[0]), modes.classify(right[0])] == [0, 1]
    assert np.array_equal(modes.coordinate(left[0]), -modes.coordinate(right[0]))


def test_the_reward_is_the_progress_in_steps_less_the_costs() -> None:
    # 3-4-5 triangle: from 0.5 to 0.3 away from the goal
    before, after = np.array([GOAL[0] - 0.4, 0.3]), np.array([GOAL[0], 0.3])
    assert reward(before, after) == pytest.approx(0.2 / obstacle.STEP_LENGTH - obstacle.TIME_COST, abs=1e-12)
    into = np.array([0.0, 0.4])
    progress = (np.hypot(GOAL[0], 0.6) - np.hypot(GOAL[0], 0.4)) / obstacle.STEP_LENGTH
    costs = obstacle.TIME_COST + obstacle.COLLISION_COST
    assert reward(np.array([0.0, 0.6]), into) == pytest.approx(progress - costs, abs=1e-12)


def test_an_episode_ends_in_the_disc_and_at_the_time_limit() -> None:
    env = gym.make(TASK, fixed_start=True)
    for action, steps, end in (((0.0, 0.0), 25, (False, True)), ((1.0, 0.0), 1, (True, False))):
        env.reset(seed=0)
        ends = [env.step(np.array(action, np.float32))[2:4] for _ in range(steps)]
        assert ends == [(False, False)] * (steps - 1) + [end]


def test_a_fixed_start_is_the_mirror_line_and_random_starts_lie_evenly_around_it() -> None:
    fixed, random = gym.make(TASK, fixed_start=True), gym.make(TASK)
    assert all(np.array_equal(fixed.reset(seed=seed)[0], START) for seed in range(3))
    random.reset(seed=0)
    starts = np.array([random.reset()[0] for _ in range(4000)])
    assert not in_obstacle(starts).any()
    spread = np.abs(starts - START).max(0)
    assert np.abs(starts.mean(0) - START).max() < 0.05 * spread.max()
    assert spread == pytest.approx((0.05, 0.3), rel=0.01)


def test_gymnasiums_own_checks_pass_and_a_picture_shows_disc_goal_and_point() -> None:
    check_env(PlanarObstacleEnv(), skip_render_check=True)
    check_env(env := PlanarObstacleEnv(fixed_start=True, render_mode="rgb_array"))
    env.reset(seed=0)
    picture = env.render()
    places = np.array([START, (0.0, 0.0), GOAL, (0.0, 0.9)])
    columns, rows = np.rint((places * (1, -1) + 1) / 2 * (len(picture) - 1)).astype(int).T
    assert len(np.unique(picture[rows, columns], axis=0)) == 4


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ([(-0.6, 0.0), (-0.1, 0.6), (0.1, 0.6), GOAL], 0),
        ([(-0.6, 0.0), (-0.1, -0.6), (0.1, -0.6), GOAL], 1),
        # over to the left and back: the last crossing counts
        ([(-0.6, 0.0), (0.1, 0.6), (-0.1, 0.6), (-0.1, -0.6), (0.1, -0.6), GOAL], 1),
        # the crossing counts, not the sides of the points before and after it
        ([(-0.1, -0.5), (0.5, 0.9), GOAL], 1),
        ([(-0.5, 0.9), (0.1, -0.4), GOAL], 1),
        ([(-0.6, 0.0), (-0.1, 0.6), (0.1, 0.6)], None),
        ([(-0.6, 0.0), (-obstacle.OBSTACLE_RADIUS + 0.1, 0.0)], None),
    ],
)
def test_a_run_is_of_the_side_on_which_it_passed_the_disc_and_of_none_if_it_failed(
    path: list[tuple[float, float]], mode: int | None
) -> None:
    assert find_modes(TASK).classify(np.array(path)) == mode


def test_pictures_show_where_the_point_is() -> None:
    env, seen = PlanarObstacleEnv(pixels=32), PlanarObstacleEnv()
    check_env(env, skip_render_check=True)
    picture, _ = env.reset(seed=3)
    position, _ = seen.reset(seed=3)
    # the dot is the only thing brighter than the goal
    rows, columns = np.nonzero(picture[0] > 180)
    x, y = np.linspace(-1.0, 1.0, 32)[columns].mean(), np.linspace(1.0, -1.0, 32)[rows].mean()
    np.testing.assert_allclose((x, y), position, atol=0.04)
    moved, *_ = env.step(np.array([0.25, 0.0], np.float32))  # less than a pixel
    assert not np.array_equal(moved, picture)
