# SPDX-License-Identifier: BSD-3-Clause
"""Push-T: overlap and reward of a pose; in MuJoCo mirror symmetry, starts, success and direction of turning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

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
    seen = np.zeros((len(angles), 8))
    seen[:, 4], seen[:, 5] = np.cos(angles), np.sin(angles)
    assert modes.classify(seen) == mode
    assert modes.classify(seen * MIRROR_OBSERVATION) == (None if mode is None else 1 - mode)
    assert modes.coordinate(seen)[-1] == pytest.approx(math.degrees(angles[-1] - math.pi))
    seen[:, 2] = 0.02  # the goal's angle beside the goal is a failure
    assert modes.classify(seen) is None


GRID = np.stack(np.meshgrid(*[np.arange(-0.25, 0.25, 0.001) + 0.0005] * 2), axis=-1).reshape(-1, 2)
"""Centres of cells of 1 mm^2."""


def share_on_grid(x: float, y: float, angle: float) -> float:
    """Return the overlap counted in cells, from the outline alone."""
    goal = Outline(push_t.outline()).contains_points(GRID)
    block = Outline(push_t.to_world(push_t.outline(), x, y, angle)).contains_points(GRID)
    return float((goal & block).sum() * 1e-6 / push_t.AREA)


def test_the_t_is_two_rectangles_balanced_about_the_origin() -> None:
    inside = GRID[Outline(push_t.outline()).contains_points(GRID)]
    assert len(inside) * 1e-6 == pytest.approx(push_t.AREA, rel=1e-9) == pytest.approx(0.2 * 0.05 + 0.15 * 0.05)
    assert np.abs(inside.mean(0)).max() < 5e-4
    assert np.hypot(*push_t.outline().T).max() == pytest.approx(push_t.RADIUS)


@pytest.mark.parametrize(
    ("pose", "share"),
    [
        ((0.0, 0.0, 0.0), 1.0),
        ((0.0, 0.0, 2.0 * math.pi), 1.0),
        # along x each strip of the bar (0.05) and of the stem (0.15) loses the shift
        ((0.01, 0.0, 0.0), 1.0 - 0.2 * 0.01 / 0.0175),
        ((-0.01, 0.0, 0.0), 1.0 - 0.2 * 0.01 / 0.0175),
        # along y only the bar's width loses it: below the bar comes the stem
        ((0.0, 0.01, 0.0), 1.0 - 0.2 * 0.01 / 0.0175),
        ((0.0, 0.2, 0.0), 0.0),
        ((0.0, 0.2 - 0.025, 0.0), 0.05 * 0.025 / 0.0175),
    ],
)
def test_the_overlap_equals_areas_computed_by_hand(pose: tuple[float, float, float], share: float) -> None:
    assert push_t.overlap(*pose) == pytest.approx(share, abs=1e-12)


def test_the_overlap_of_turned_and_shifted_blocks_equals_that_of_their_outlines_on_a_grid() -> None:
    generator = np.random.default_rng(0)
    for _ in range(30):
        x, y = generator.uniform(-0.08, 0.08, 2)
        angle = generator.uniform(-math.pi, math.pi)
        assert push_t.overlap(x, y, angle) == pytest.approx(share_on_grid(x, y, angle), abs=5e-3)


UNIT = st.floats(-1.0, 1.0)


# far from the goal, and around it
@given(st.sampled_from([(0.2, math.pi), (0.01, 0.15)]), UNIT, UNIT, UNIT)
def test_the_mirror_image_overlaps_as_much_and_success_is_an_overlap_of_nine_tenths(
    spread: tuple[float, float], x: float, y: float, angle: float
) -> None:
    x, y, angle = spread[0] * x, spread[0] * y, spread[1] * angle
    share = push_t.overlap(x, y, angle)
    assert -1e-12 <= share <= 1.0 + 1e-12
    assert push_t.overlap(-x, y, -angle) == pytest.approx(share, abs=1e-12)
    if abs(share - 0.9) > 1e-9:
        assert push_t.succeeds(x, y, angle) == (share >= 0.9)


def test_reward_terms_equal_the_formula_by_hand() -> None:
    # at the goal, with the pusher at the centroid: 1/2 + 1/2 + 1/20
    assert push_t.reward((0.0, 0.0), 0.0, (0.0, 0.0)) == pytest.approx(1.05, abs=1e-15)
    # turned by pi the rotation is worth nothing, by a quarter turn 1/2 (1/2)^2
    assert push_t.reward((0.0, 0.0), math.pi, (0.0, 0.0)) == pytest.approx(0.55, abs=1e-15)
    assert push_t.reward((0.0, 0.0), -0.5 * math.pi, (0.0, 0.0)) == pytest.approx(0.125 + 0.55, abs=1e-15)
    # tanh(5 * 0.2) = tanh 1 = 0.761594...: half a metre of 3-4-5 in tenths is 0.5, and tanh 2.5 = 0.986614...
    e2, e5 = math.exp(2.0), math.exp(5.0)
    tanh1, tanh25 = (e2 - 1.0) / (e2 + 1.0), (e5 - 1.0) / (e5 + 1.0)
    by_hand = 0.5 * (1.0 - tanh1) ** 2 + 0.05 * math.sqrt(1.0 - tanh25)
    assert push_t.reward((0.2, 0.0), math.pi, (0.5, 0.4)) == pytest.approx(by_hand, abs=1e-15)


def test_the_reward_of_many_poses_is_that_of_each_and_of_its_mirror_image() -> None:
    generator = np.random.default_rng(0)
    position, pusher = generator.uniform(-0.3, 0.3, (2, 100, 2))
    angle = generator.uniform(-4.0, 4.0, 100)
    values = push_t.reward(position, angle, pusher)
    assert values.shape == (100,)
    assert values.max() <= 1.05
    single = [float(push_t.reward(*state)) for state in zip(position, angle, pusher, strict=True)]
    np.testing.assert_allclose(values, single, rtol=1e-14)
    assert np.array_equal(push_t.reward(position * (-1, 1), -angle, pusher * (-1, 1)), values)
