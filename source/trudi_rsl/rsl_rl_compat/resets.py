# SPDX-License-Identifier: BSD-3-Clause
"""Resetting single environments of a host, which RSL-RL's interface has no call for."""

from __future__ import annotations

import inspect
from typing import Any

from rsl_rl.env import VecEnv
from torch import Tensor


def reset_envs(env: VecEnv | None, ids: Tensor) -> bool:
    """Start new episodes in some environments.

    Args:
        env: Manager-based environments of Isaac Lab and mjlab offer ``reset(env_ids=...)``; Isaac Lab's direct ones
            have ``_reset_idx``, which their ``step`` calls for episodes that end.
        ids: Which, long ``[K]``.

    Returns:
        Whether the host could.
    """
    host: Any = getattr(env, "unwrapped", None)
    if callable(reset := getattr(host, "reset", None)) and "env_ids" in inspect.signature(reset).parameters:
        reset(env_ids=ids)
        return True
    if callable(reset := getattr(host, "_reset_idx", None)):
        reset(ids)
        return True
    return False
