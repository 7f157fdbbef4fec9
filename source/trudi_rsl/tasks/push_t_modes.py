# SPDX-License-Identifier: BSD-3-Clause
"""Which way a run of Push-T turned its block. Needs no simulator."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trudi_rsl.evaluation.modes import BehaviourModes
from trudi_rsl.tasks import t_shape

FIXED_START = (0.0, 0.0, math.pi, 0.0, 0.25)
"""Fixed start: ``x, y`` (m) and angle (rad) of the block, ``x, y`` (m) of the pusher. All lies on the mirror line."""

Array = NDArray[np.float64]


def rotation(observations: Array) -> Array:
    """Return how far the block has turned since the start, counter-clockwise, ``[L + 1]`` in rad.

    Args:
        observations: ``[L + 1, 8]``; between two of them the block turns by less than pi.
    """
    angle = np.unwrap(np.arctan2(observations[:, 5], observations[:, 4]))
    return angle - angle[0]


def direction(observations: Array) -> int | None:
    """Return which way a run turned the block until it succeeded: 0 counter-clockwise, 1 clockwise, None if it failed.

    Args:
        observations: ``[L + 1, 8]``.
    """
    angles = np.arctan2(observations[:, 5], observations[:, 4]).tolist()
    poses = zip(observations[:, 2].tolist(), observations[:, 3].tolist(), angles, strict=True)
    reached = next((i for i, pose in enumerate(poses) if t_shape.succeeds(*pose)), None)
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
    outlines={
        "goal": t_shape.outline(),
        "block at the start": t_shape.to_world(t_shape.outline(), *FIXED_START[:3]),
    },
)
