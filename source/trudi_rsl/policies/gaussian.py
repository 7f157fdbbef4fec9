# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian policies: REPPO's tanh-Gaussian with its actor-critic (arXiv 2507.11019), and RSL-RL's own MLP model."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from trudi_rsl.diffusion.chain import LOG_SQRT_2PI, log_det_squash
from trudi_rsl.diffusion.score_network import check_widths, hidden_trunk
from trudi_rsl.policies.actor_critic import ActorCritic
from trudi_rsl.policies.base import WHOLE_CHAIN, ChainOptions, Decision, Policy, require_no_chain_options
from trudi_rsl.policies.deployable import DeployablePolicy, MeanInferencePolicy
from trudi_rsl.policies.observations import ObservationEncoder

if TYPE_CHECKING:
    from rsl_rl.models import MLPModel

LOG_STD_RANGE = (-5.0, 2.0)
"""Open interval of the log standard deviation; std between 0.0067 and 7.4."""

INIT_STD = 1.0
"""Initial standard deviation in all states, with which the unit action is nearly uniform."""

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
    # expm1 stays accurate for nearly equal deviations, the regime of the trust region
    spread = 0.5 * torch.expm1(2.0 * log_ratio) - log_ratio
    return (spread + 0.5 * ((p.mean - q.mean) * (-q.log_std).exp()).square()).sum(-1)


class GaussianPolicy(Policy):
    """Distribution over unit actions ``tanh(x)`` with ``x ~ N(mean(s), std(s)^2)``.

    Widths and skip connections as for :class:`~trudi_rsl.diffusion.ScoreNetwork`.
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
            # raw value that maps to log(INIT_STD)
            last.bias[num_actions:] = math.atanh(2.0 * (math.log(INIT_STD) - low) / (high - low) - 1.0)

    @property
    def output_layer(self) -> nn.Linear:
        """The last layer of the network."""
        return cast(nn.Linear, self.network[-1])

    def forward(self, obs: Tensor) -> Gaussian:
        """Return the distribution of the pre-squash actions ``[..., A]`` at normalised observations ``[..., O]``."""
        # back to float32 if the layers run in reduced precision
        output = self.network(obs).to(self.output_layer.weight.dtype)
        mean, raw = output.chunk(2, dim=-1)
        low, high = LOG_STD_RANGE
        return Gaussian(mean, low + 0.5 * (high - low) * (raw.tanh() + 1.0))

    def decide(self, obs: Tensor, noise: Tensor) -> Decision:
        """Return the decisions that noise ``[1, B, A]`` determines, with their exact log-densities.

        Their trace is the distribution: mean, then log-std, ``[2, B, A]``.
        """
        mean, log_std = self(obs)
        latent = mean + log_std.exp() * noise[0]
        log_prob = (-0.5 * noise[0].square() - log_std - LOG_SQRT_2PI).sum(-1) - log_det_squash(latent)
        return Decision(latent, log_prob, torch.stack([mean, log_std]))


class GaussianActorCritic(ActorCritic[GaussianPolicy]):
    """Tanh-Gaussian actor and distributional Q critic over RSL-RL observation groups."""

    @staticmethod
    def make_actor(
        num_obs: int, num_actions: int, actor_hidden_dims: Sequence[int] = (512, 512, 512), residual: bool = False
    ) -> GaussianPolicy:
        """Return a new actor; see :class:`GaussianPolicy`."""
        return GaussianPolicy(num_obs, num_actions, actor_hidden_dims, residual)

    def deterministic_actions(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return the simulator actions ``[B, A]`` of the Gaussian's mean; see :class:`DeployablePolicy`."""
        require_no_chain_options(options, start)
        return self.to_simulator(self.actor(actor_obs).mean.tanh())

    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> MeanInferencePolicy:
        """Return a frozen copy of the mean; see :class:`DeployablePolicy`."""
        require_no_chain_options(options)
        output = copy.deepcopy(self.actor.output_layer)
        output.weight, output.bias = (nn.Parameter(p[: self.num_actions]) for p in (output.weight, output.bias))
        return MeanInferencePolicy(self.actor_obs, nn.Sequential(*list(self.actor.network)[:-1], output), self.squash)


class MLPPolicy(DeployablePolicy):
    """The deterministic output of RSL-RL's MLP model, which PPO and SPO train, in simulator units and unbounded.

    Shares the model's parameters and normaliser.
    """

    def __init__(self, model: MLPModel) -> None:
        super().__init__()
        self.actor_obs = ObservationEncoder(model.obs_groups, model.obs_dim, normalize=False)
        self.actor_obs.normalizer = model.obs_normalizer
        output = nn.Identity() if model.distribution is None else model.distribution.as_deterministic_output_module()
        self.network = nn.Sequential(model.mlp, output)

    def deterministic_actions(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return the mean ``[B, A]``; see :class:`DeployablePolicy`."""
        require_no_chain_options(options, start)
        return self.network(actor_obs)

    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> MeanInferencePolicy:
        """Return a frozen copy of the mean; see :class:`DeployablePolicy`."""
        require_no_chain_options(options)
        return MeanInferencePolicy(self.actor_obs, self.network)

    def describe(self, options: ChainOptions = WHOLE_CHAIN) -> dict[str, Any]:
        """Return no metadata: the policy has neither bounds nor a chain."""
        return {}
