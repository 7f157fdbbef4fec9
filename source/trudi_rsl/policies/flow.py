# SPDX-License-Identifier: BSD-3-Clause
"""FPO's flow policy (arXiv 2507.21053) and its actor model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.diffusion.flow import euler_path, interpolate, matching_losses
from trudi_rsl.diffusion.schedule import first_steps, merged_sizes
from trudi_rsl.diffusion.score_network import ScoreNetwork
from trudi_rsl.diffusion.signed_permutation import SignedPermutations
from trudi_rsl.policies.base import WHOLE_CHAIN, ChainOptions, ChainPolicy, ChainSteps
from trudi_rsl.policies.generative import GenerativeModel, activation_class, require_at_least_one, require_positive


class FlowPolicy(ChainPolicy):
    """Distribution over actions to which a state-conditioned velocity field transports Gaussian noise.

    Args:
        num_obs: Dimension ``O`` of the (normalised) observation.
        num_actions: Action dimension ``A``.
        num_steps: Euler steps ``N``, at least 1.
        prior_std: Standard deviation of the noise.
        hidden_dims, activation: As for :class:`ScoreNetwork`.
    """

    def __init__(
        self,
        num_obs: int,
        num_actions: int,
        num_steps: int = 10,
        prior_std: float = 1.0,
        hidden_dims: Sequence[int] = (32, 32, 32),
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.num_obs = num_obs
        self.num_actions = num_actions
        self.num_steps = num_steps
        self.prior_std = prior_std
        # starts as almost zero: the first actions are the noise
        self.velocity_network = ScoreNetwork(num_obs, num_actions, hidden_dims, activation=activation)

    def time_features(self) -> Tensor:
        """Return the velocity network's features of the Euler steps' times ``k/N``, ``[N, H]``."""
        param = next(self.parameters())
        times = torch.arange(self.num_steps, device=param.device, dtype=param.dtype) / self.num_steps
        return self.velocity_network.features_at(times)

    def ode_path(self, obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None) -> list[Tensor]:
        """Return the flow's positions at the Euler steps, ``M + 1`` tensors ``[B, A]``; see :class:`ChainPolicy`."""
        net = self.velocity_network
        obs_features, time_features = net.obs_features(obs), self.time_features()
        if start is None:
            start = self.fixed_start(options, obs).expand(len(obs), -1)
        num_groups = options.resolve_steps(self.num_steps)
        return euler_path(lambda x, k: net(x, obs_features + time_features[k]), start, self.num_steps, num_groups)

    def chain_steps(self, options: ChainOptions) -> ChainSteps:
        """Return the coefficients of ``x <- x + v / N``; see :class:`ChainPolicy`."""
        firsts = first_steps(self.num_steps, options.resolve_steps(self.num_steps))
        features = self.time_features()
        gain = merged_sizes(features.new_full((self.num_steps, self.num_actions), 1.0 / self.num_steps), firsts)
        return ChainSteps(self.velocity_network, features[firsts], torch.ones_like(gain), gain)

    def matching_losses(self, obs: Tensor, actions: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Return the conditional flow matching losses at ``S`` points for each action, ``[B, S]``.

        Shapes: normalised observations ``[B, O]``, actions ``[B, A]``, times in [0, 1] ``[B, S]``, noise ``[B, S, A]``.
        """
        net, targets = self.velocity_network, actions[:, None]
        condition = net.obs_features(obs)[:, None] + net.features_at(times)
        return matching_losses(net(interpolate(targets, noise, times), condition), targets, noise)


class FlowModel(GenerativeModel[FlowPolicy]):
    """A flow policy whose ratio is estimated by the conditional flow matching (CFM) loss of its own actions.

    With each action it samples ``S`` times and noises and stores them with their losses, so that the losses before and
    after an update are evaluated at the same points.

    The first seven arguments are those of ``rsl_rl.models.MLPModel``; a ConfigError names a setting out of range.

    Args:
        num_flow_steps: Euler steps, at least 1.
        num_matching_samples: Samples ``S`` of time and noise per action, at least 1.
        prior_std: Standard deviation of the flow's initial noise, and of the first policy's actions; above 0.
    """

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        hidden_dims: Sequence[int] = (32, 32, 32),
        activation: str = "swish",
        obs_normalization: bool = False,
        num_flow_steps: int = 10,
        num_matching_samples: int = 8,
        prior_std: float = 1.0,
    ) -> None:
        super().__init__(obs, obs_groups[obs_set], output_dim, obs_normalization)
        require_at_least_one("num_flow_steps", num_flow_steps)
        require_at_least_one("num_matching_samples", num_matching_samples)
        require_positive("prior_std", prior_std)
        self.num_matching_samples = num_matching_samples
        self.actor = FlowPolicy(
            self.actor_obs.num_obs, output_dim, num_flow_steps, prior_std, hidden_dims, activation_class(activation)
        )

    def sample(self, actor_obs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return actions ``[B, A]`` from random starts, and what the ratio needs to know about them.

        These are times ``[B, S]``, noises ``[B, S, A]`` and the CFM losses at these points ``[B, S]``.
        """
        batch = len(actor_obs)
        actions = self.actor.ode_path(actor_obs, start=self.actor.draw_prior(batch))[-1]
        times = torch.rand(batch, self.num_matching_samples, device=actor_obs.device, dtype=actor_obs.dtype)
        noise = self.actor.draw_prior(batch, self.num_matching_samples)
        return actions, (times, noise, self.actor.matching_losses(actor_obs, actions, times, noise))

    def log_ratios(self, obs: TensorDict, actions: Tensor, old_params: Sequence[Tensor]) -> Tensor:
        """Return ``cfm_old - cfm``, averaged over the action's samples, ``[B]``."""
        times, noise, old_losses = old_params
        losses = self.actor.matching_losses(self.actor_obs(obs), actions, times, noise)
        self.output_distribution_params = (times, noise, losses.detach())
        return (old_losses - losses).mean(-1)

    def mirror(self, params: Sequence[Tensor], mirrors: SignedPermutations) -> tuple[Tensor, ...]:
        """Return times, images of the noises, and losses, which mirroring leaves; see :class:`GenerativeModel`.

        The prior's noise has the same deviation in all dimensions.
        """
        times, noise, losses = params
        images = mirrors.mirror(noise.transpose(0, 1)).transpose(0, 1)
        return times.repeat(mirrors.num_maps, 1), images, losses.repeat(mirrors.num_maps, 1)
