# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's normalisers with the same statistics, but without its GPU syncs and with one exchange between ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trudi_rsl.distributed import all_gather
from trudi_rsl.rsl_rl_compat.models import EmpiricalNormalization


class RunningNormalization(EmpiricalNormalization):
    """RSL-RL's normaliser, updated in place; arguments are those of its constructor."""

    @torch.jit.unused
    def update(self, x: Tensor) -> None:
        """Update the statistics with values ``[E, ...]`` of all ranks, as RSL-RL 5.5 computes them."""
        if not self.training:
            return
        variance, mean = x.var(dim=0, unbiased=False, keepdim=True), x.mean(dim=0, keepdim=True)
        count = torch.full_like(self.count, len(x))
        if torch.distributed.is_initialized():
            ranks = all_gather(torch.cat([count[None].to(mean), mean.flatten(), variance.flatten()]))
            counts, means, variances = ranks.split((1, mean.numel(), mean.numel()), dim=1)
            count = counts.sum().to(count)
            average = (counts * means).sum(0) / count
            spread = (counts * (variances + (means - average).square())).sum(0) / count
            mean, variance = average.view_as(mean), spread.view_as(variance)
        if self.until is not None:
            count = count.where(torch.lt(self.count, self.until), 0)
        self.count += count
        rate = count / self.count
        shift = mean - self._mean
        self._mean += rate * shift
        self._var += rate * (variance - self._var + shift * (mean - self._mean))
        # CUDA graphs read it at this address
        self._std.copy_(self._var.sqrt())


class RewardNormalization(nn.Module):
    """RSL-RL's normaliser of rewards by the deviation of their discounted sums.

    Args:
        stock: RSL-RL's, whose statistics it continues.
    """

    def __init__(self, stock: Any) -> None:
        super().__init__()
        # names are those of RSL-RL's checkpoints
        self.emp_norm, self.disc_avg = stock.emp_norm, stock.disc_avg
        replace_normalizer(self, "emp_norm")

    def forward(self, rewards: Tensor) -> Tensor:
        """Return the rewards ``[E]``, divided by the deviation unless it is 0; in training, update it first."""
        if self.training:
            self.emp_norm.update(self.disc_avg.update(rewards))
        deviation = self.emp_norm._std
        return rewards / deviation.where(deviation > 0, 1.0)


def replace_normalizer(module: nn.Module, name: str) -> None:
    """Replace the attribute ``name`` of a module, if it is RSL-RL's normaliser, by one that forces no GPU sync."""
    stock = getattr(module, name, None)
    if type(stock) is EmpiricalNormalization:
        own = RunningNormalization(stock.mean.shape, stock.eps, stock.until).to(stock.mean.device)
        own.load_state_dict(stock.state_dict())
        setattr(module, name, own.train(stock.training))


def replace_rnd_normalizers(rnd: Any) -> None:
    """Replace the normalisers of RSL-RL's random network distillation, of states and rewards, in the same manner."""
    replace_normalizer(rnd, "state_normalizer")
    if rnd.reward_normalization:
        rnd.reward_normalizer = RewardNormalization(rnd.reward_normalizer).train(rnd.reward_normalizer.training)
