# SPDX-License-Identifier: BSD-3-Clause
"""Steps of PPO's optimisers, with its adaptive learning rate, that skip non-finite gradients on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-5, 1e-2
"""Limits of the adaptive learning rate, RSL-RL's."""

OF_THIS_DEVICE = ("fused", "foreach", "capturable")
"""Options of an optimiser that a checkpoint does not change."""

STATES = ("optimizer_state_dict", "rnd_optimizer_state_dict")
"""RSL-RL's keys of the optimisers' states in a checkpoint: the policy's, and that of RND's predictor."""


class SkippingSteps:
    """Takes the steps of one update; from the first non-finite gradient on, all are skipped.

    On a GPU nothing is read on the host: fused optimisers read learning rate and :attr:`skips` there. Others than Adam,
    AdamW and SGD have no fused form, and force a sync in every step; so does a CPU, where that costs nothing and the
    optimisers stay as RSL-RL made them.

    Args:
        optimizers: The policy's optimiser, whose learning rate adapts, and with RND that of its predictor.
        fuses: Whether to fuse them, as on a GPU.
    """

    def __init__(self, optimizers: Sequence[Optimizer], fuses: bool) -> None:
        self._optimizers = optimizers
        device = optimizers[0].param_groups[0]["params"][0].device
        self._are_fused = fuses and all(isinstance(o, (Adam, AdamW, SGD)) for o in optimizers)
        self.skips = torch.zeros((), device=device)
        """1 if steps are skipped, float32 scalar."""
        self.rate = torch.zeros((), dtype=torch.float64, device=device)
        """Learning rate of the policy's optimiser, float64 scalar as RSL-RL's Python number."""
        self._own_rate = torch.zeros((), device=device)
        if self._are_fused:
            self._fuse()

    def start(self, learning_rate: float, veto: Tensor | None = None) -> None:
        """Start an update, all of whose steps are skipped with a ``veto``, bool scalar."""
        self.skips.zero_()
        if veto is not None:
            self.skips.copy_(veto)
        self.rate.fill_(learning_rate)
        self._set_rate()

    def adapt(self, mean_kl: Tensor, desired_kl: float) -> None:
        """Lower the learning rate if the mean KL, nats, is above twice ``desired_kl``, raise it below half of that."""
        kl = mean_kl.double()
        lower = (self.rate / 1.5).clamp(min=MIN_LEARNING_RATE)
        higher = (self.rate * 1.5).clamp(max=MAX_LEARNING_RATE)
        is_small = (kl > 0.0) & (kl < 0.5 * desired_kl)
        adapted = torch.where(kl > 2.0 * desired_kl, lower, torch.where(is_small, higher, self.rate))
        self.rate.copy_(torch.where(self.skips > 0.0, self.rate, adapted))
        self._set_rate()

    def step(self, norms: Tensor) -> None:
        """Take a step of every optimiser, unless a norm of its gradients is or was not finite."""
        self.skips.copy_(torch.maximum(self.skips, (~torch.isfinite(norms)).any().float()))
        if self._are_fused or not self.skips.item():
            for optimizer in self._optimizers:
                optimizer.step()

    def with_options(self, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
        """Return a checkpoint in which the optimisers have the options that this device needs."""
        states = {}
        for key, optimizer in zip(STATES, self._optimizers, strict=False):
            if key in checkpoint:
                pairs = zip(checkpoint[key]["param_groups"], optimizer.param_groups, strict=True)
                groups = [saved | {name: own[name] for name in OF_THIS_DEVICE if name in own} for saved, own in pairs]
                states[key] = {**checkpoint[key], "param_groups": groups}
        return {**checkpoint, **states}

    def _fuse(self) -> None:
        for optimizer in self._optimizers:
            # fused optimisers read it on the device, as they do for torch.amp
            optimizer.found_inf = self.skips  # type: ignore[attr-defined]
            for group in optimizer.param_groups:
                own = {"fused": True, "foreach": False, "capturable": self.skips.is_cuda}
                group |= {name: value for name, value in own.items() if name in group}

    def _set_rate(self) -> None:
        """Pass the learning rate to the policy's optimiser: on the device if it is fused."""
        if self._are_fused:
            self._own_rate.copy_(self.rate)
        for group in self._optimizers[0].param_groups:
            group["lr"] = self._own_rate if self._are_fused else self.rate.item()


def plain_state(state: Mapping[str, Any], learning_rate: float) -> dict[str, Any]:
    """Return an optimiser's state for a checkpoint, with its learning rate as a number."""
    return {**state, "param_groups": [group | {"lr": learning_rate} for group in state["param_groups"]]}
