# SPDX-License-Identifier: BSD-3-Clause
"""What a step's ``extras`` tell of the success of the episodes that it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

NAMES = frozenset({"success", "is_success", "success_rate"})
"""Last parts of the names under which tasks log their success."""

COUNTS = "Episode_Termination/"
"""How names begin that Isaac Lab and mjlab log numbers of episodes under, not shares."""


def successes(extras: Mapping[str, Any], done: Tensor) -> Tensor | None:
    """Return the success of each episode that ended in this step.

    Args:
        extras: As an RSL-RL environment returns them: ``success`` ``[E]``, or an entry of ``log`` (of ``episode``
            under RSL-RL's older name) whose name ends in one of :data:`NAMES`, a mean over the episodes that ended.
        done: Where an episode ended, ``[E]`` bool.

    Returns:
        ``[E]`` float64 in [0, 1], NaN where no episode ended; None if the task reports no success.
    """
    value = extras.get("success")
    if value is None:
        log = extras.get("log") or extras.get("episode") or {}
        value = next((v for k, v in log.items() if k.rpartition("/")[2] in NAMES and not k.startswith(COUNTS)), None)
    if value is None:
        return None
    value = torch.as_tensor(value, dtype=torch.float64, device=done.device)
    return torch.where(done, value, torch.nan)
