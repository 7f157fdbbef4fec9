# SPDX-License-Identifier: BSD-3-Clause
"""The T of the pushing task: its outline, how two of them overlap, and what a pose is worth.

The block's frame has its origin at the centroid and its y axis along the stem; the bar is at the end of positive y. The
goal is the frame of the world.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
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
BAR_Y = STEM[1] + 0.5 * BAR[1] - _CENTROID
"""The bar's centre lies here on the y axis [m]."""
STEM_Y = 0.5 * STEM[1] - _CENTROID
"""The stem's centre lies here on the y axis [m]."""
RADIUS = math.hypot(0.5 * STEM[0], STEM_Y - 0.5 * STEM[1])
"""Distance from the centroid to the farthest corners, those of the stem [m]."""

SUCCESS_OVERLAP = 0.9
"""Share of the block's area that must lie on the goal."""
_FARTHEST_SUCCESS = 2.0 * RADIUS * (1.0 - SUCCESS_OVERLAP) / SUCCESS_OVERLAP
"""Distance from the goal beyond which no block succeeds [m].

The centroids of two sets of area A whose overlap is s A differ by at most (1 - s) times the largest distance between a
point of one and a point of the other, which is at most 2 r + d for sets of radius r whose centroids are d apart:
d <= (1 - s) (2 r + d).
"""


def _rectangle(centre_y: float, sides: tuple[float, float]) -> Rectangle:
    return -0.5 * sides[0], centre_y - 0.5 * sides[1], 0.5 * sides[0], centre_y + 0.5 * sides[1]


RECTANGLES = (_rectangle(BAR_Y, BAR), _rectangle(STEM_Y, STEM))
"""Bar and stem in the block's frame; they share an edge and no area."""


def to_world(points: Array, x: float, y: float, angle: float) -> Array:
    """Return points ``[..., 2]`` of the block's frame in the world's."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([x, y]) + points @ np.array([[cos, sin], [-sin, cos]])


def outline() -> Array:
    """Return the corners of the T in the block's frame, ``[8, 2]``."""
    (bar_left, bar_low, bar_right, bar_high), (stem_left, stem_low, stem_right, _) = RECTANGLES
    right = [(stem_right, stem_low), (stem_right, bar_low), (bar_right, bar_low), (bar_right, bar_high)]
    left = [(bar_left, bar_high), (bar_left, bar_low), (stem_left, bar_low), (stem_left, stem_low)]
    return np.array(right + left)


def overlap(x: float, y: float, angle: float) -> float:
    """Return the share of the block's area that lies on the goal, in [0, 1].

    Args:
        x: Position of the block's centroid [m].
        y: The same.
        angle: Its rotation [rad].
    """
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
    """Return what a pose is worth: ``1/2 ((cos d + 1)/2)^2 + 1/2 (1 - tanh 5|dp|)^2 + 1/20 sqrt(1 - tanh 5|dt|)``.

    Args:
        position: The block's centroid, ``dp`` from the goal, ``[..., 2]`` in metres.
        angle: Its rotation ``d`` from the goal, ``[...]`` in rad.
        pusher: The pusher, ``dt`` from the centroid, ``[..., 2]`` in metres.

    Returns:
        ``[...]`` in [0, 1.05].
    """
    position, pusher = np.asarray(position), np.asarray(pusher)
    rotation = 0.5 * (0.5 * (np.cos(angle) + 1.0)) ** 2
    placement = 0.5 * (1.0 - np.tanh(5.0 * np.linalg.norm(position, axis=-1))) ** 2
    guidance = 0.05 * np.sqrt(1.0 - np.tanh(5.0 * np.linalg.norm(pusher - position, axis=-1)))
    return rotation + placement + guidance


def _clip(polygon: Polygon, rectangle: Rectangle) -> Polygon:
    """Return what of a convex polygon lies in a rectangle (Sutherland and Hodgman, 1974)."""
    low_x, low_y, high_x, high_y = rectangle
    for axis, sign, bound in ((0, 1.0, low_x), (0, -1.0, -high_x), (1, 1.0, low_y), (1, -1.0, -high_y)):
        kept: Polygon = []
        for i, point in enumerate(polygon):
            previous = polygon[i - 1]
            # distances to the inside of the edge
            here, there = sign * point[axis] - bound, sign * previous[axis] - bound
            if (here >= 0.0) != (there >= 0.0):
                share = there / (there - here)
                kept.append(
                    (previous[0] + share * (point[0] - previous[0]), previous[1] + share * (point[1] - previous[1]))
                )
            if here >= 0.0:
                kept.append(point)
        polygon = kept
    return polygon


def _area(polygon: Polygon) -> float:
    """Return the area of a polygon whose corners go counter-clockwise."""
    return 0.5 * sum(polygon[i - 1][0] * y - x * polygon[i - 1][1] for i, (x, y) in enumerate(polygon))
