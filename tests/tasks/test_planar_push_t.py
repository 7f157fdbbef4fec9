# SPDX-License-Identifier: BSD-3-Clause
"""Push-T in MuJoCo: mirror symmetry, starts, success, and which way a run turned the block."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from trudi_rsl.tasks import find_modes, push_t
from trudi_rsl.tasks.planar_push_t import CLEARANCE, PlanarPushTEnv
from trudi_rsl.tasks.push_t import FIXED_START

TASK = "PlanarPushT-v0"
MIRROR_JOINTS = np.array([-1.0, 1.0, -1.0, -1.0, 1.0])
MIRROR_ACTION = np.array([-1.0, 1.0], np.float32)
MIRROR_OBSERVATION = np.array([-1.0, 1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0])
AT_GOAL = (0.0, 0.0, 0.0, 0.0, 0.25)


def put(env: PlanarPushTEnv, joints: np.ndarray | tuple[float, ...]) -> None:
    env.set_state(np.array(joints), np.zeros(5))


def test_the_model_is_the_t_of_the_reward() -> None:
    model = PlanarPushTEnv().model
    rectangles = []
    for name in ("bar", "stem", "goal_bar", "goal_stem"):
        geom = model.geom(name)
        rectangles.append((*(geom.pos[:2] - geom.size[:2]), *(geom.pos[:2] + geom.size[:2])))
    np.testing.assert_allclose(rectangles, 2 * push_t.RECTANGLES, atol=1e-15)


def test_mirrored_states_and_actions_lead_bit_by_bit_to_mirrored_states_with_the_same_reward() -> None:
    env, mirrored = PlanarPushTEnv(), PlanarPushTEnv()
    mirrored.reset(seed=0)
    generator = np.random.default_rng(0)
    turned = 0.0
    for episode in range(8):
        env.reset(seed=episode)
        put(mirrored, MIRROR_JOINTS * env.data.qpos)
        for _ in range(60):
            # towards the block, so that there are contacts
            towards = (env.data.qpos[:2] - env.data.qpos[3:]) / 0.1 + generator.normal(0.0, 0.3, 2)
            action = np.clip(towards, -0.5, 0.5).astype(np.float32)
            before = env.data.qpos[2]
            obs, reward, *_ = env.step(action)
            image, image_reward, *_ = mirrored.step(action * MIRROR_ACTION)
            assert np.array_equal(image, obs * MIRROR_OBSERVATION)
            assert np.array_equal(mirrored.data.qpos, env.data.qpos * MIRROR_JOINTS)
            assert image_reward == reward
            turned = max(turned, abs(env.data.qpos[2] - before))
    assert turned > 0.02


def test_the_reward_and_the_success_are_those_of_the_pose_that_the_step_led_to() -> None:
    env = PlanarPushTEnv()
    env.reset(seed=0)
    still = np.zeros(2, np.float32)
    for joints, succeeded in ((FIXED_START, False), (AT_GOAL, True), (FIXED_START, True)):
        put(env, joints)
        _, reward, terminated, truncated, info = env.step(still)
        x, y, angle, *pusher = env.data.qpos
        assert reward == push_t.reward((x, y), angle, pusher)
        # an episode that has succeeded stays so
        assert (terminated, truncated, info["is_success"]) == (False, False, succeeded)
    env.reset()
    assert not env.step(still)[4]["is_success"]


def test_the_observation_has_the_pusher_in_both_frames() -> None:
    env = PlanarPushTEnv()
    env.reset(seed=0)
    put(env, (0.1, 0.2, 0.5 * math.pi, 0.1, 0.3))
    # a quarter turn: what lies in +y of the world lies in +x of the block
    np.testing.assert_allclose(env._observation(), [0.1, 0.3, 0.1, 0.2, 0.0, 1.0, 0.1, 0.0], atol=1e-15)


def test_a_block_that_is_not_pushed_comes_to_rest_within_a_step() -> None:
    env = PlanarPushTEnv(fixed_start=True)
    env.reset(seed=0)
    env.set_state(np.array(FIXED_START), np.array([0.2, 0.1, 2.0, 0.0, 0.0]))
    env.step(np.zeros(2, np.float32))
    assert np.abs(env.data.qvel[:3] / (0.2, 0.1, 2.0)).max() < 0.25


def test_starts() -> None:
    check_env(PlanarPushTEnv(), skip_render_check=True)
    fixed = PlanarPushTEnv(fixed_start=True)
    first = [fixed.reset(seed=seed)[0] for seed in (0, 1)]
    assert np.array_equal(first[0], first[1])
    # with the block's sine rounded to 0, the start is its own mirror image
    np.testing.assert_allclose(first[0], first[0] * MIRROR_OBSERVATION, atol=1e-15)
    random = PlanarPushTEnv()
    random.reset(seed=0)
    starts = []
    for _ in range(2000):
        random.reset()
        starts.append(random.data.qpos.copy())
        assert math.dist(starts[-1][:2], starts[-1][3:]) > CLEARANCE
    signed = np.array(starts)[:, [0, 2, 3]]
    assert np.abs(signed.mean(0) / signed.std(0)).max() < 0.1
    assert np.abs(signed[:, 1]).max() == pytest.approx(math.pi, rel=0.01)


def turning(angles: list[float], end: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Return observations ``[L + 1, 8]`` of a block that turns in place and ends elsewhere."""
    seen = np.zeros((len(angles), 8))
    seen[:, 4], seen[:, 5] = np.cos(angles), np.sin(angles)
    seen[-1, 2:4] = end
    return seen


@pytest.mark.parametrize(
    ("angles", "mode"),
    [
        ([math.pi, 4.0, 5.0, 2 * math.pi], 0),
        ([math.pi, 2.0, 1.0, 0.0], 1),
        # one way first, and then the whole other way
        ([math.pi, 4.0, 4.5, 3.0, 2.0, 1.0, 0.0], 1),
        # past the goal's angle within the success, then on: what counts is the way to the success
        ([math.pi, 2.0, 1.0, 0.05, -1.0, -2.0, -3.0], 1),
        ([math.pi, 2.0, 1.0], None),
        ([math.pi], None),
    ],
)
def test_a_run_is_of_the_direction_in_which_it_turned_the_block_to_the_goal(
    angles: list[float], mode: int | None
) -> None:
    modes = find_modes(TASK)
    seen = turning(angles)
    assert modes.classify(seen) == mode
    assert modes.classify(seen * MIRROR_OBSERVATION) == (None if mode is None else 1 - mode)
    assert modes.coordinate(seen)[-1] == pytest.approx(math.degrees(angles[-1] - math.pi))


def test_a_block_turned_to_the_goals_angle_elsewhere_is_a_failure() -> None:
    assert find_modes(TASK).classify(turning([math.pi, 2.0, 1.0, 0.0], end=(0.02, 0.0))) is None
