# SPDX-License-Identifier: BSD-3-Clause
"""TD(lambda) targets that never cross a reset."""

from __future__ import annotations

import torch
from torch import Tensor


def td_lambda_targets(
    rewards: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    known: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Return the TD(lambda) targets ``[T, E]`` of a rollout.

    ``G_t = r_t + gamma * V'_t`` where the episode was truncated, where the rollout ends, and in front of a row whose
    own target is unknown; ``G_t = r_t`` where it terminated; else
    ``G_t = r_t + gamma * (lam * G_{t+1} + (1 - lam) * V'_t)``.

    Args:
        rewards: (Soft) rewards ``[T, E]``.
        next_values: ``V'_t = Q(s', a')`` at the true next observation, ``[T, E]``.
        terminated: True terminations, bool ``[T, E]``.
        truncated: Time limits, bool ``[T, E]``, exclusive with ``terminated``.
        known: False where ``next_values`` is not that of the true next observation (a truncation without a final
            observation), bool ``[T, E]``. The target of such a row is meaningless and must be masked by the caller; no
            other row uses it.
        gamma: Discount per step, in [0, 1).
        lam: Mixing ``lambda``, in [0, 1].
    """
    targets = torch.empty_like(rewards)
    last = rewards.shape[0] - 1
    for t in range(last, -1, -1):
        bootstrap = next_values[t]
        if t < last:
            stop = truncated[t] | ~known[t + 1]
            bootstrap = torch.where(stop, bootstrap, lam * targets[t + 1] + (1.0 - lam) * bootstrap)
        targets[t] = rewards[t] + gamma * bootstrap.masked_fill(terminated[t], 0.0)
    return targets
