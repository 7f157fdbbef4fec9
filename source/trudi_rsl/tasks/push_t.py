# SPDX-License-Identifier: BSD-3-Clause
"""Push-T without its simulator: outline and overlap of the T, the reward, and the direction in which a run turned it.

The block's frame has its origin at the centroid and its y axis along the stem; the bar lies at positive y. The goal
pose is the world frame.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from trudi_rsl.evaluation.modes import Array, BehaviourModes

Polygon = list[tuple[float, float]]
Rectangle = tuple[float, float, float, float]
"""Lowest x, lowest y, highest x, highest y [m]."""

BAR = (0.2, 0.05)
"""Sides of the bar [m]."""
STEM = (0.05, 0.15)
"""Sides of the stem [m]."""
AREA = BAR[0] * BAR[1] + STEM[0] * STEM[1]
"""Area of the T [m^2]."""
_CENTROID = (BAR[0] * BAR[1] * (STEM[1] + 0.5 * BAR[1]) + STEM[0] * STEM[1] * 0.5 * STEM[1]) / AREA
RECTANGLES: tuple[Rectangle, Rectangle] = (
    (-0.5 * BAR[0], STEM[1] - _CENTROID, 0.5 * BAR[0], STEM[1] + BAR[1] - _CENTROID),
    (-0.5 * STEM[0], -_CENTROID, 0.5 * STEM[0], STEM[1] - _CENTROID),
)
"""Bar and stem in the block's frame; they share an edge but no area."""
RADIUS = math.hypot(0.5 * STEM[0], _CENTROID)
"""Distance from the centroid to the farthest corners, those of the stem [m]."""

FIXED_START = (0.0, 0.0, math.pi, 0.0, 0.25)
"""Fixed start: ``x, y`` (m) and angle (rad) of the block, ``x, y`` (m) of the pusher, all on the mirror line."""
SUCCESS_OVERLAP = 0.9
"""Share of the block's area that must lie on the goal."""
_FARTHEST_SUCCESS = 2.0 * RADIUS * (1.0 - SUCCESS_OVERLAP) / SUCCESS_OVERLAP
"""Distance from the goal beyond which no block succeeds [m].

If two sets of area A overlap by s A, their centroids are at most (1 - s) times the largest distance between a point of
one and a point of the other apart. That distance is at most 2 r + d for sets of radius r with centroids d apart, so
d <= (1 - s) (2 r + d).
"""


def to_world(points: Array, x: float, y: float, angle: float) -> Array:
    """Transform points ``[..., 2]`` from the block's frame to the world frame."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([x, y]) + points @ np.array([[cos, sin], [-sin, cos]])


def outline() -> Array:
    """Return the corners of the T in the block's frame, ``[8, 2]``."""
    (bar_left, bar_low, bar_right, bar_high), (stem_left, stem_low, stem_right, _) = RECTANGLES
    right = [(stem_right, stem_low), (stem_right, bar_low), (bar_right, bar_low), (bar_right, bar_high)]
    left = [(bar_left, bar_high), (bar_left, bar_low), (stem_left, bar_low), (stem_left, stem_low)]
    return np.array(right + left)


def overlap(x: float, y: float, angle: float) -> float:
    """Return the share of the block's area on the goal, in [0, 1], with the centroid at ``x, y`` (m), turned (rad)."""
    total = 0.0
    for low_x, low_y, high_x, high_y in RECTANGLES:
        corners = np.array([(low_x, low_y), (high_x, low_y), (high_x, high_y), (low_x, high_y)])
        moved = [(px, py) for px, py in to_world(corners, x, y, angle).tolist()]
        total += sum(_area(_clip(moved, goal)) for goal in RECTANGLES)
    return total / AREA


def succeeds(x: float, y: float, angle: float) -> bool:
    """Return whether :func:`overlap` reaches :data:`SUCCESS_OVERLAP`."""
    return math.hypot(x, y) <= _FARTHEST_SUCCESS and overlap(x, y, angle) >= SUCCESS_OVERLAP


def reward(position: ArrayLike, angle: ArrayLike, pusher: ArrayLike) -> Array:
    """Return ``1/2 ((cos d + 1)/2)^2 + 1/2 (1 - tanh 5|dp|)^2 + 1/20 sqrt(1 - tanh 5|dt|)``, ``[...]`` in [0, 1.05].

    Args:
        position: Position ``dp`` of the block's centroid, ``[..., 2]`` in metres.
        angle: Rotation ``d`` of the block, ``[...]`` in rad.
        pusher: Position of the pusher, at ``dt`` from the centroid, ``[..., 2]`` in metres.
    """
    position, pusher = np.asarray(position), np.asarray(pusher)
    rotation = 0.5 * (0.5 * (np.cos(angle) + 1.0)) ** 2
    placement = 0.5 * (1.0 - np.tanh(5.0 * np.linalg.norm(position, axis=-1))) ** 2
    guidance = 0.05 * np.sqrt(1.0 - np.tanh(5.0 * np.linalg.norm(pusher - position, axis=-1)))
    return rotation + placement + guidance


def _clip(polygon: Polygon, rectangle: Rectangle) -> Polygon:
    """Return the part of a convex polygon inside a rectangle (Sutherland and Hodgman, 1974)."""
    low_x, low_y, high_x, high_y = rectangle
    for axis, sign, bound in ((0, 1.0, low_x), (0, -1.0, -high_x), (1, 1.0, low_y), (1, -1.0, -high_y)):
        kept: Polygon = []
        for i, point in enumerate(polygon):
            last = polygon[i - 1]
            # signed distances from the edge, positive inside
            here, there = sign * point[axis] - bound, sign * last[axis] - bound
            if (here >= 0.0) != (there >= 0.0):
                share = there / (there - here)
                kept.append((last[0] + share * (point[0] - last[0]), last[1] + share * (point[1] - last[1])))
            if here >= 0.0:
                kept.append(point)
        polygon = kept
    return polygon


def _area(polygon: Polygon) -> float:
    """Return the area of a polygon with counter-clockwise corners."""
    return 0.5 * sum(polygon[i - 1][0] * y - x * polygon[i - 1][1] for i, (x, y) in enumerate(polygon))


def rotation(observations: Array) -> Array:
    """Return the counter-clockwise rotation of the block since the start of a run ``[L + 1, 8]``, ``[L + 1]`` (rad)."""
    angle = np.unwrap(np.arctan2(observations[:, 5], observations[:, 4]))
    return angle - angle[0]


def direction(observations: Array) -> int | None:
    """Return how a run ``[L + 1, 8]`` turned the block: 0 counter-clockwise, 1 clockwise, None if it failed."""
    angles = np.arctan2(observations[:, 5], observations[:, 4])
    poses = np.column_stack([observations[:, 2:4], angles]).tolist()
    reached = next((i for i, pose in enumerate(poses) if succeeds(*pose)), None)
    if reached is None:
        return None
    return 0 if rotation(observations)[reached] > 0.0 else 1


MODES = BehaviourModes(
    names=("counter-clockwise", "clockwise"),
    classify=direction,
    fixed_start={"fixed_start": True},
    path=lambda observations: observations[:, :2],
    coordinate=lambda observations: np.rad2deg(rotation(observations)),
    coordinate_name="Rotation of the block (degrees)",
    outlines={"goal": outline(), "block at the start": to_world(outline(), *FIXED_START[:3])},
)
