# SPDX-License-Identifier: BSD-3-Clause
"""What the learner asks of a policy, whatever its distribution is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Decision(NamedTuple):
    """Actions that a policy drew in ``B`` states."""

    latent: Tensor
    """Pre-squash actions ``[B, A]``; unit actions are their ``tanh``."""
    log_prob: Tensor
    """Log-density of the unit actions ``[B]`` in nats, or the policy's bound on it; ``E[-log_prob]`` <= entropy."""
    trace: Tensor
    """What the trust region has to know of the policy that drew them, ``[R, B, A]``."""

    @property
    def action(self) -> Tensor:
        """Unit actions ``[B, A]`` in [-1, 1]."""
        return self.latent.tanh()


class Policy(nn.Module, ABC):
    """A distribution over unit actions ``tanh(x)``, reparametrised by standard normal draws.

    Args:
        num_obs: Dimension ``O`` of the (normalised) observation.
        num_actions: Action dimension ``A``.
        num_draws: Standard normal draws per decision and action dimension.
        trace_length: Rows ``R`` of a decision's trace.
    """

    def __init__(self, num_obs: int, num_actions: int, num_draws: int, trace_length: int) -> None:
        super().__init__()
        self.num_obs = num_obs
        self.num_actions = num_actions
        self.num_draws = num_draws
        self.trace_length = trace_length

    @property
    @abstractmethod
    def output_layer(self) -> nn.Linear:
        """The last layer of the policy's network."""

    def draw_noise(self, batch: int) -> Tensor:
        """Return fresh standard normal noise for :meth:`decide`, ``[num_draws, B, A]``."""
        param = next(self.parameters())
        return torch.randn(self.num_draws, batch, self.num_actions, device=param.device, dtype=param.dtype)

    @abstractmethod
    def decide(self, obs: Tensor, noise: Tensor) -> Decision:
        """Return the decisions that noise leads to; gradients reach the parameters through all of it.

        Args:
            obs: Normalised observations ``[B, O]``.
            noise: Standard normal ``[num_draws, B, A]``.
        """
