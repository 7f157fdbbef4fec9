# SPDX-License-Identifier: BSD-3-Clause
"""Interfaces of the actors: distributions over unit actions, and chains of steps from noise to actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trudi_rsl.diffusion import ScoreNetwork


class Decision(NamedTuple):
    """Actions sampled in ``B`` states."""

    latent: Tensor
    """Pre-squash actions ``[B, A]``; unit actions are their ``tanh``."""
    log_prob: Tensor
    """Log-density of the unit actions ``[B]`` in nats, or the policy's bound on it; ``E[-log_prob]`` <= entropy."""
    trace: Tensor
    """What the trust region needs to know about the policy that sampled the actions, ``[R, B, A]``."""

    @property
    def action(self) -> Tensor:
        """Unit actions ``[B, A]`` in [-1, 1]."""
        return self.latent.tanh()


class Policy(nn.Module, ABC):
    """A distribution over unit actions ``tanh(x)``, reparametrised by standard normal noise."""

    trace_dtype: torch.dtype | None = None
    """Type in which traces are stored; None is that of the parameters."""

    def __init__(self, num_obs: int, num_actions: int, num_draws: int, trace_length: int) -> None:
        super().__init__()
        self.num_obs = num_obs
        """Dimension ``O`` of the (normalised) observation."""
        self.num_actions = num_actions
        """Action dimension ``A``."""
        self.num_draws = num_draws
        """Standard normal draws per decision and action dimension."""
        self.trace_length = trace_length
        """Rows ``R`` of a decision's trace."""

    @property
    @abstractmethod
    def output_layer(self) -> nn.Linear:
        """The last layer of the policy's network."""

    def draw_noise(self, batch: int) -> Tensor:
        """Return fresh standard normal noise for :meth:`decide`, ``[num_draws, B, A]``."""
        param = next(self.parameters())
        return torch.randn(self.num_draws, batch, self.num_actions, device=param.device, dtype=param.dtype)

    def draw_stored_noise(self, batch: int) -> Tensor:
        """Return noise for decisions that are stored: that of :meth:`draw_noise`, in a type that traces can hold."""
        return self.draw_noise(batch)

    @abstractmethod
    def decide(self, obs: Tensor, noise: Tensor) -> Decision:
        """Return the decisions that noise ``[num_draws, B, A]`` determines at normalised observations ``[B, O]``.

        Gradients flow to the parameters.
        """


@dataclass(frozen=True)
class ChainOptions:
    """How a deterministic chain runs; a ValueError if a value is out of range.

    Policies without a chain accept only the defaults.
    """

    score_scale: float = 1.0
    """Score scale ``c`` of a diffusion policy's ODE, above 0 (paper Eq. 185: 1/2 is the probability-flow ODE); other
    policies support 1 only."""
    num_steps: int | None = None
    """Steps to take, from 1 to the number trained with; consecutive steps are merged. None takes all."""
    seed: int | None = None
    """Seed of a fixed random initial latent; None starts at zeros."""

    def __post_init__(self) -> None:
        """Validate the values."""
        if not self.score_scale > 0.0:
            raise ValueError(f"score_scale must be above 0, got {self.score_scale}.")
        if self.num_steps is not None and self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}.")

    def resolve_steps(self, num_trained: int) -> int:
        """Return the number of steps for a chain trained with ``num_trained``; raise a ValueError if it has fewer."""
        if self.num_steps is not None and self.num_steps > num_trained:
            raise ValueError(f"num_steps is {self.num_steps}, but the policy was trained with {num_trained} steps.")
        return num_trained if self.num_steps is None else self.num_steps

    def describe(self, num_trained: int) -> dict[str, Any]:
        """Return export metadata of a chain trained with ``num_trained`` steps."""
        return {
            "num_denoise_steps": self.resolve_steps(num_trained),
            "num_trained_steps": num_trained,
            "score_scale": self.score_scale,
            "initial_latent": "zeros" if self.seed is None else f"normal, seed {self.seed}",
        }


WHOLE_CHAIN = ChainOptions()
"""All steps, score scale 1, from zeros."""


def require_no_chain_options(options: ChainOptions, start: Tensor | None = None) -> None:
    """Raise a ValueError if an option or an initial latent is set for a policy without a chain."""
    if options != WHOLE_CHAIN or start is not None:
        found = "an initial latent" if start is not None else options
        raise ValueError(f"A Gaussian's mean has no score scale, no steps and no initial latent, but got {found}.")


class ChainSteps(NamedTuple):
    """A deterministic chain written as ``x <- contraction_k x + gain_k u(x, s, k)``."""

    network: ScoreNetwork
    """The network ``u``."""
    time_features: Tensor
    """Its features of the ``M`` steps, ``[M, H]``."""
    contraction: Tensor
    """``[M, A]``."""
    gain: Tensor
    """``[M, A]``."""


class ChainPolicy(nn.Module, ABC):
    """A policy that transports Gaussian noise ``x_0`` to an action in ``num_steps`` steps of one network."""

    num_actions: int
    """Action dimension ``A``."""
    num_steps: int
    """Steps ``N``."""
    prior_std: float
    """Standard deviation ``s0`` of ``x_0``."""

    def draw_prior(self, *shape: int) -> Tensor:
        """Return samples of ``N(0, s0^2)``, ``[*shape, A]``."""
        param = next(self.parameters())
        return self.prior_std * torch.randn(*shape, self.num_actions, device=param.device, dtype=param.dtype)

    def fixed_start(self, options: ChainOptions, like: Tensor) -> Tensor:
        """Return the initial latent that the options fix, ``[1, A]``, with device and dtype of ``like``."""
        if options.seed is None:
            # allocated on the device: a copy from the host would force a GPU sync at every action
            return like.new_zeros(1, self.num_actions)
        generator = torch.Generator().manual_seed(options.seed)
        return (self.prior_std * torch.randn(1, self.num_actions, generator=generator)).to(like)

    @abstractmethod
    def ode_path(self, obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None) -> list[Tensor]:
        """Return the latents of the deterministic chain, ``M + 1`` tensors ``[B, A]``; the last is the chain's end.

        Args:
            obs: Normalised observations ``[B, O]``.
            options: Score scale and number ``M`` of steps; of the steps merged into one, the first sets the control.
            start: Initial latents ``[B, A]``; None uses :meth:`fixed_start`.
        """

    @abstractmethod
    def chain_steps(self, options: ChainOptions) -> ChainSteps:
        """Return the coefficients of the deterministic chain, for export."""
