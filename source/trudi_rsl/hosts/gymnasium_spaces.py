# SPDX-License-Identifier: BSD-3-Clause
"""Which Gymnasium spaces the algorithms can work with."""

from __future__ import annotations

import numpy as np
from gymnasium.spaces import Box, Space

from trudi_rsl.errors import ConfigError

_SUPPORTED = "Supported are 1-D Box spaces, with floats for actions"


def observation_size(space: Space, task: str) -> int:
    """Return O, the length of the task's observation vector.

    Args:
        space: One environment's observation space.
        task: Name for the error message.

    Raises:
        ConfigError: The space is not a 1-D Box.
    """
    if not isinstance(space, Box) or len(space.shape) != 1 or space.shape[0] == 0:
        raise ConfigError(
            f"Task {task!r} has observations in {space}. {_SUPPORTED}. Register a variant of the task that is wrapped "
            "in gymnasium.wrappers.FlattenObservation if its observations can be flattened."
        )
    return space.shape[0]


def action_limits(
    space: Space, task: str, fallback: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest action, each ``[A]`` in the space's dtype.

    Args:
        space: One environment's action space.
        task: Name for the error messages.
        fallback: ``(low, high)`` for the entries whose Box has no finite bound on that side.

    Raises:
        ConfigError: The space is not a 1-D Box of floats, is unbounded without ``fallback``, or is empty.
    """
    floats = isinstance(space, Box) and np.issubdtype(space.dtype, np.floating)
    if not isinstance(space, Box) or not floats or len(space.shape) != 1 or space.shape[0] == 0:
        raise ConfigError(
            f"Task {task!r} has actions in {space}. {_SUPPORTED}: TruDi's policy is a distribution over "
            "continuous action vectors."
        )
    low, high = space.low.copy(), space.high.copy()
    # Some tasks write the largest float for "no bound".
    largest = np.finfo(np.float32).max
    no_low, no_high = low <= -largest, high >= largest
    if no_low.any() or no_high.any():
        if fallback is None:
            entries = np.flatnonzero(no_low | no_high).tolist()
            raise ConfigError(
                f"Task {task!r} has no finite bounds on action entries {entries}. "
                "Give them, for example env.action_bounds=[-1.0,1.0]."
            )
        if not (np.isfinite(fallback).all() and fallback[0] < fallback[1]):
            raise ConfigError(f"action_bounds must be two finite numbers, low < high, not {fallback}.")
        low[no_low], high[no_high] = fallback
    if not (low < high).all():
        entry = int(np.flatnonzero(~(low < high))[0])
        raise ConfigError(
            f"Task {task!r} leaves no range to action entry {entry}: low {low[entry]}, high {high[entry]}. "
            "Low must be below high."
        )
    return low, high
