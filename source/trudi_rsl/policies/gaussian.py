# SPDX-License-Identifier: BSD-3-Clause
"""REPPO's tanh-Gaussian policy (arXiv 2507.11019) and its actor-critic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Unpack

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.diffusion.chain import LOG_SQRT_2PI, log_det_squash
from trudi_rsl.diffusion.trunk import check_widths, hidden_trunk
from trudi_rsl.policies.actor_critic import ActorCritic, CriticOptions
from trudi_rsl.policies.base import Decision, Policy
from trudi_rsl.policies.deployable import (
    WHOLE_CHAIN,
    ChainOptions,
    FirstColumns,
    MeanInferencePolicy,
    refuse_chain_options,
)

LOG_STD_RANGE = (-5.0, 2.0)
"""Ends that the logarithm of the standard deviation approaches and never reaches; std between 0.0067 and 7.4."""

INIT_STD = 1.0
"""Standard deviation at the start, in all states: the unit action is then nearly uniform."""

OUTPUT_SCALE = 0.01
"""Initial scale of the last layer: mean near 0 and std near ``INIT_STD``."""


class Gaussian(NamedTuple):
    """Independent Gaussians of the pre-squash actions."""

    mean: Tensor
    """``[..., A]``."""
    log_std: Tensor
    """Logarithm of the standard deviation ``[..., A]``."""


def kl_divergence(p: Gaussian, q: Gaussian) -> Tensor:
    """Return ``KL(p || q)`` summed over dimensions, ``[...]`` nats; squashing both by ``tanh`` does not change it."""
    log_ratio = p.log_std - q.log_std
    # expm1 keeps the difference of nearly equal deviations, which the trust region is about
    spread = 0.5 * torch.expm1(2.0 * log_ratio) - log_ratio
    return (spread + 0.5 * ((p.mean - q.mean) * (-q.log_std).exp()).square()).sum(-1)


class GaussianPolicy(Policy):
    """Distribution over unit actions ``tanh(x)`` with ``x ~ N(mean(s), std(s)^2)``.

    Args:
        num_obs: Dimension ``O`` of the (normalised) observation.
        num_actions: Action dimension ``A``.
        hidden_dims: Width of the first layer and of every hidden block.
        residual: Add a skip connection around each hidden block (all widths must then agree).

    Raises:
        ValueError: If ``hidden_dims`` is empty, or has unequal widths with ``residual``.
    """

    def __init__(
        self, num_obs: int, num_actions: int, hidden_dims: Sequence[int] = (512, 512, 512), residual: bool = False
    ) -> None:
        super().__init__(num_obs, num_actions, num_draws=1, trace_length=2)
        check_widths(hidden_dims, residual)
        first, last = nn.Linear(num_obs, hidden_dims[0]), nn.Linear(hidden_dims[-1], 2 * num_actions)
        self.network = nn.Sequential(first, hidden_trunk(hidden_dims, residual), last)
        low, high = LOG_STD_RANGE
        with torch.no_grad():
            last.weight.mul_(OUTPUT_SCALE)
            last.bias.zero_()
            # the raw value whose squashed log-std is that of INIT_STD
            last.bias[num_actions:] = math.atanh(2.0 * (math.log(INIT_STD) - low) / (high - low) - 1.0)

    @property
    def output_layer(self) -> nn.Linear:
        """The last layer of the network."""
        layer = self.network[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, obs: Tensor) -> Gaussian:
        """Return the distribution of the pre-squash actions ``[..., A]`` at normalised observations ``[..., O]``."""
        # float32 also where the layers multiply in reduced precision
        output = self.network(obs).to(self.output_layer.weight.dtype)
        mean, raw = output.chunk(2, dim=-1)
        low, high = LOG_STD_RANGE
        return Gaussian(mean, low + 0.5 * (high - low) * (raw.tanh() + 1.0))

    def decide(self, obs: Tensor, noise: Tensor) -> Decision:
        """Return the decisions that noise leads to, with their exact log-densities.

        Args:
            obs: Normalised observations ``[B, O]``.
            noise: Standard normal ``[1, B, A]``.

        Returns:
            Decisions whose trace is the distribution: mean, then log-std, ``[2, B, A]``.
        """
        mean, log_std = self(obs)
        latent = mean + log_std.exp() * noise[0]
        log_prob = (-0.5 * noise[0].square() - log_std - LOG_SQRT_2PI).sum(-1) - log_det_squash(latent)
        return Decision(latent, log_prob, torch.stack([mean, log_std]))


class GaussianActorCritic(ActorCritic[GaussianPolicy]):
    """Tanh-Gaussian actor and distributional Q critic over RSL-RL observation groups.

    Args:
        obs: Example observations, to size the groups.
        obs_groups: Group names of the ``actor`` and ``critic`` observation sets.
        action_low: Lower action bounds ``[A]``.
        action_high: Upper action bounds ``[A]``, above the lower ones.
        actor_hidden_dims: Widths of the actor's network.
        residual: Skip connections in it.
        options: What does not depend on the kind of actor, see :class:`ActorCritic`.
    """

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        action_low: Tensor,
        action_high: Tensor,
        actor_hidden_dims: Sequence[int] = (512, 512, 512),
        residual: bool = False,
        **options: Unpack[CriticOptions],
    ) -> None:
        def make_actor(num_obs: int, num_actions: int) -> GaussianPolicy:
            return GaussianPolicy(num_obs, num_actions, actor_hidden_dims, residual)

        super().__init__(obs, obs_groups, action_low, action_high, make_actor, **options)

    def deterministic_latent(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return the Gaussian's mean ``[B, A]``; see :class:`ActorCritic`."""
        refuse_chain_options(options, start)
        return self.actor(actor_obs).mean

    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> MeanInferencePolicy:
        """Freeze the current policy's mean; see :class:`ActorCritic`."""
        refuse_chain_options(options)
        mean = nn.Sequential(self.actor.network, FirstColumns(self.num_actions))
        return MeanInferencePolicy(self.actor_obs, mean, self.squash)
