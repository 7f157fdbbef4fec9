# SPDX-License-Identifier: BSD-3-Clause
"""What RSL-RL's logger adds up over a run, so that a resumed run's log goes on where the checkpoint's ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch

EPISODE_SUMS = ("cur_reward_sum", "cur_episode_length")
"""Attributes of RSL-RL's logger that add up the episodes under way, ``[E]``."""

LOG_SUMS = ("rewbuffer", "lenbuffer", "tot_timesteps", "tot_time")
"""Attributes of RSL-RL's logger about what is over."""


def log_sums(logger: Any) -> dict[str, Any]:
    """Return the sums as tensors and plain values; RSL-RL 3.0 and 3.1 keep some where nobody else can read them."""
    sums = {name: getattr(logger, name) for name in (*EPISODE_SUMS, *LOG_SUMS) if hasattr(logger, name)}
    return {name: list(value) if isinstance(value, deque) else value for name, value in sums.items()}


def continue_log(logger: Any, checkpoint: Mapping[str, Any], device: str) -> None:
    """Give a logger a checkpoint's sums, those of unfinished episodes only where the simulator goes on with them.

    Args:
        logger: RSL-RL's.
        checkpoint: What a ``model_*.pt`` holds.
        device: Where the logger's tensors are.
    """
    sums = (checkpoint.get("infos") or {}).get("logger", {})
    exact = (checkpoint.get("env_state") or {}).get("exact", False)
    for name in (*EPISODE_SUMS, *LOG_SUMS) if exact else LOG_SUMS:
        value = sums.get(name) if hasattr(logger, name) else None
        if isinstance(value, torch.Tensor):
            value = value.to(device)
            if value.shape != getattr(logger, name).shape:
                continue
        if isinstance(value, list) and isinstance(own := getattr(logger, name), deque):
            value = deque(map(float, value), own.maxlen)
        if isinstance(value, (torch.Tensor, deque, int, float)):
            setattr(logger, name, value)
