# SPDX-License-Identifier: BSD-3-Clause
"""Choosing and widening the critic's value range for tasks without a preset."""

from __future__ import annotations

import torch
from torch import Tensor

from trudi_rsl.collectives import of_all_processes

CROWDED_SHARE = 0.01
MARGIN = 0.2
"""An automatic range is widened while more than ``CROWDED_SHARE`` of the targets lie in the outer ``MARGIN`` of it.

Values next to the end of the range are pulled inwards, so that waiting for clipped targets would come too late.
"""

OTHER_SIDE = 0.5
"""Smallest reach of the range on the side that the first rewards do not point to, relative to the other side's."""

MIN_REACH = 1.0


def initial_range(rewards: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return a range that holds the return of earning the first rollout's extreme rewards for ever.

    ``[min(q01, 0), max(q99, 0)] / (1 - gamma)``, the shorter side at least half as long as the longer one.
    Several processes take the quantiles of all their rewards.

    Args:
        rewards: Rewards of the first rollout ``[T, E]``.
        gamma: Discount per step.
    """
    rewards = of_all_processes(rewards).flatten()[: 2**24]
    low, high = torch.quantile(rewards, torch.tensor([0.01, 0.99], dtype=rewards.dtype, device=rewards.device))
    low, high = low.clamp(max=0.0) / (1.0 - gamma), high.clamp(min=0.0) / (1.0 - gamma)
    reach = torch.maximum(-low, high).clamp(min=MIN_REACH)
    return torch.minimum(low, -OTHER_SIDE * reach), torch.maximum(high, OTHER_SIDE * reach)


def widened_range(vmin: Tensor, vmax: Tensor, targets: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the range with each side that too many targets come near moved out by the range's width.

    Args:
        vmin: Lower end, scalar.
        vmax: Upper end, scalar.
        targets: Targets ``[T, E]``.
        valid: Rows that count, bool ``[T, E]``.
    """
    width = vmax - vmin
    low, high = targets < vmin + MARGIN * width, targets > vmax - MARGIN * width
    counts = torch.stack([valid.sum(), (low & valid).sum(), (high & valid).sum()])
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
    below, above = counts[1:] / counts[0].clamp(min=1)
    return (
        torch.where(below > CROWDED_SHARE, vmin - width, vmin),
        torch.where(above > CROWDED_SHARE, vmax + width, vmax),
    )
