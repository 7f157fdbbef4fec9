# SPDX-License-Identifier: BSD-3-Clause
"""Choosing and widening the critic's value range for tasks without a preset."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_CLIPPED_SHARE = 0.01
"""Share of clipped targets above which the range is too narrow."""

MIN_WIDTH = 1.0


def initial_range(rewards: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return a range that holds the return of earning the first rollout's extreme rewards for ever.

    ``[min(q01, 0), max(q99, 0)] / (1 - gamma)``, made at least symmetric to a tenth, so that neither side is empty.
    Several processes agree on the widest.

    Args:
        rewards: Rewards of the first rollout ``[T, E]``.
        gamma: Discount per step.
    """
    low, high = torch.quantile(rewards.flatten()[: 2**24], torch.tensor([0.01, 0.99], device=rewards.device))
    low, high = low.clamp(max=0.0) / (1.0 - gamma), high.clamp(min=0.0) / (1.0 - gamma)
    reach = torch.maximum(-low, high).clamp(min=MIN_WIDTH)
    ends = torch.stack([torch.minimum(low, -0.1 * reach), -torch.maximum(high, 0.1 * reach)])
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(ends, torch.distributed.ReduceOp.MIN)
    return ends[0], -ends[1]


def widened_range(vmin: Tensor, vmax: Tensor, targets: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the range with each side that clips too many targets moved out by the range's width.

    Args:
        vmin: Lower end, scalar.
        vmax: Upper end, scalar.
        targets: Targets ``[T, E]``.
        valid: Rows that count, bool ``[T, E]``.
    """
    counts = torch.stack([valid.sum(), ((targets < vmin) & valid).sum(), ((targets > vmax) & valid).sum()])
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
    below, above = counts[1:] / counts[0].clamp(min=1)
    width = vmax - vmin
    return (
        torch.where(below > MAX_CLIPPED_SHARE, vmin - width, vmin),
        torch.where(above > MAX_CLIPPED_SHARE, vmax + width, vmax),
    )
