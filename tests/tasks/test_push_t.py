# SPDX-License-Identifier: BSD-3-Clause
"""What a pose of the T is worth, and when it counts as at the goal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from trudi_rsl.tasks import push_t

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
    mirror = np.array([-1.0, 1.0])
    assert np.array_equal(push_t.reward(position * mirror, -angle, pusher * mirror), values)
