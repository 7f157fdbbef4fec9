# SPDX-License-Identifier: BSD-3-Clause
"""TruDi's diffusion policy and its actor-critic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F

from trudi_rsl.diffusion.chain import Chain, denoising_mean, log_det_squash, log_prob_bound, ode_step
from trudi_rsl.diffusion.schedule import cosine_weights, first_steps, merged_sizes, step_sizes
from trudi_rsl.diffusion.score_network import ScoreNetwork
from trudi_rsl.policies.actor_critic import ActorCritic, CriticOptions
from trudi_rsl.policies.base import Decision, Policy
from trudi_rsl.policies.deployable import WHOLE_CHAIN, ChainInferencePolicy, ChainOptions, Squash
from trudi_rsl.policies.observations import ObservationEncoder


class DiffusionPolicy(Policy):
    """Distribution over unit actions ``tanh(x_N)`` reached by ``N`` denoising steps from Gaussian noise.

    Args:
        num_obs: Dimension ``O`` of the (normalised) observation.
        num_actions: Action dimension ``A``.
        num_steps: Denoising steps ``N``, at least 1.
        prior_std: Standard deviation ``s0`` of ``x_0``.
        init_friction: Initial friction, one learned value per action dimension.
        hidden_dims: Widths of the score network.
        residual: Skip connections in the score network.
        encoder_dims: Widths of the score network's state encoder, none without one.
        activation: Class of the score network's activations.
    """

    weights: Tensor

    def __init__(
        self,
        num_obs: int,
        num_actions: int,
        num_steps: int = 8,
        prior_std: float = 2.5,
        init_friction: float = 1.0,
        hidden_dims: Sequence[int] = (512, 512, 512),
        residual: bool = False,
        encoder_dims: Sequence[int] = (),
        activation: type[nn.Module] = nn.GELU,
    ) -> None:
        super().__init__(num_obs, num_actions, num_draws=num_steps + 1, trace_length=2 * num_steps + 1)
        self.num_steps = num_steps
        self.prior_std = prior_std
        self.score_network = ScoreNetwork(num_obs, num_actions, hidden_dims, residual, encoder_dims, activation)
        # softplus(raw) = init_friction
        self.raw_friction = nn.Parameter(torch.full((num_actions,), math.log(math.expm1(init_friction))))
        self.register_buffer("weights", cosine_weights(num_steps).to(torch.get_default_dtype()), persistent=False)

    def friction(self) -> Tensor:
        """Return the friction ``phi`` per action dimension, ``[A]``, positive."""
        return F.softplus(self.raw_friction)

    def step_sizes(self) -> Tensor:
        """Return the step sizes ``e_k``, ``[N, A]``."""
        return step_sizes(self.weights, self.friction())

    @property
    def output_layer(self) -> nn.Linear:
        """The last layer of the score network."""
        return self.score_network.output_layer

    def sample(self, obs: Tensor, noise: Tensor) -> Chain:
        """Run the chain: ``x_0 = s0 noise_0``, ``x_{k+1} = mu_k + sqrt(2 e_k) noise_{k+1}``.

        Args:
            obs: Normalised observations ``[B, O]``.
            noise: Standard normal ``[N+1, B, A]``.

        Returns:
            The chain; gradients reach the parameters through every step.
        """
        net = self.score_network
        obs_features, time_features = net.obs_features(obs), net.time_features(self.num_steps)
        steps = self.step_sizes()
        sigmas = (2.0 * steps).sqrt()
        latents, means = [self.prior_std * noise[0]], []
        for k in range(self.num_steps):
            control = net(latents[k], obs_features + time_features[k])
            means.append(denoising_mean(latents[k], control, steps[k], self.prior_std))
            latents.append(means[k] + sigmas[k] * noise[k + 1])
        return Chain(torch.stack(latents), torch.stack(means), noise)

    def draw_start(self, batch: int) -> Tensor:
        """Return draws of ``x_0``, ``[B, A]``."""
        param = next(self.parameters())
        return self.prior_std * torch.randn(batch, self.num_actions, device=param.device, dtype=param.dtype)

    def ode_path(self, obs: Tensor, x0: Tensor, score_scale: float = 1.0, num_steps: int | None = None) -> list[Tensor]:
        """Return the latents of the deterministic chain from ``x0``.

        Args:
            obs: Normalised observations ``[B, O]``.
            x0: Initial latents ``[B, A]`` (``s0`` times a standard normal draw, or zeros).
            score_scale: Score scale ``c``; 1 is the SDE's mean path, 1/2 the probability-flow ODE.
            num_steps: Steps ``M <= N`` to take: groups of consecutive steps in one, with the control at the first of
                the group; None takes all ``N`` singly.

        Returns:
            The latents before, between and after the steps, ``M + 1`` times ``[B, A]``; the last are the pre-squash
            actions.
        """
        net = self.score_network
        obs_features, time_features = net.obs_features(obs), net.time_features(self.num_steps)
        firsts = first_steps(self.num_steps, num_steps or self.num_steps)
        path = [x0]
        for k, size in zip(firsts, merged_sizes(self.step_sizes(), firsts), strict=True):
            control = net(path[-1], obs_features + time_features[k])
            path.append(ode_step(path[-1], control, size, self.prior_std, score_scale))
        return path

    def solve_ode(self, obs: Tensor, x0: Tensor, score_scale: float = 1.0, num_steps: int | None = None) -> Tensor:
        """Return the end of the deterministic chain, pre-squash actions ``[B, A]``; see :meth:`ode_path`."""
        return self.ode_path(obs, x0, score_scale, num_steps)[-1]

    def controls(self, obs: Tensor, latents: Tensor, which: Tensor | None = None) -> Tensor:
        """Return the control at given latents, all steps in one batched network call.

        Args:
            obs: Normalised observations ``[B, O]``.
            latents: ``x_k`` of the steps, ``[M, B, A]``.
            which: Indices of the steps ``[M]``; all ``N`` by default.

        Returns:
            Controls ``u_k``, ``[M, B, A]``.
        """
        net = self.score_network
        time_features = net.time_features(self.num_steps)
        if which is not None:
            time_features = time_features[which]
        return net(latents, net.obs_features(obs) + time_features[:, None])

    def means(self, obs: Tensor, latents: Tensor) -> Tensor:
        """Return the denoising means at given latents, all steps in one batched network call.

        Args:
            obs: Normalised observations ``[B, O]``.
            latents: ``x_0 .. x_{N-1}``, ``[N, B, A]``.

        Returns:
            Means ``mu_k``, ``[N, B, A]``.
        """
        return denoising_mean(latents, self.controls(obs, latents), self.step_sizes()[:, None], self.prior_std)

    def log_prob_bound(self, chain: Chain) -> Tensor:
        """Return the bound ``lp`` on the log-density of the unit action, ``[B]`` nats; ``E[-lp]`` <= entropy."""
        bound = log_prob_bound(chain.latents, chain.noise, self.step_sizes(), self.prior_std)
        return bound - log_det_squash(chain.latents[-1])

    def decide(self, obs: Tensor, noise: Tensor) -> Decision:
        """Return the decisions that noise leads to, with the bound :meth:`log_prob_bound` for a log-density.

        Args:
            obs: Normalised observations ``[B, O]``.
            noise: Standard normal ``[N+1, B, A]``.

        Returns:
            Decisions whose trace is the chain: latents ``x_0 .. x_N``, then denoising means, ``[2N+1, B, A]``.
        """
        chain = self.sample(obs, noise)
        return Decision(chain.latents[-1], self.log_prob_bound(chain), torch.cat([chain.latents, chain.means]))


class DiffusionActorCritic(ActorCritic[DiffusionPolicy]):
    """Diffusion actor and distributional Q critic over RSL-RL observation groups.

    Args:
        obs: Example observations, to size the groups.
        obs_groups: Group names of the ``actor`` and ``critic`` observation sets.
        action_low: Lower action bounds ``[A]``.
        action_high: Upper action bounds ``[A]``, above the lower ones.
        num_denoise_steps: Denoising steps ``N``.
        prior_std: Standard deviation of the chain's start.
        init_friction: Initial friction.
        actor_hidden_dims: Widths of the score network.
        residual: Skip connections in the score network.
        state_encoder_dims: Widths of the score network's state encoder, none without one.
        options: What does not depend on the kind of actor, see :class:`ActorCritic`.
    """

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        action_low: Tensor,
        action_high: Tensor,
        num_denoise_steps: int = 8,
        prior_std: float = 2.5,
        init_friction: float = 1.0,
        actor_hidden_dims: Sequence[int] = (512, 512, 512),
        residual: bool = False,
        state_encoder_dims: Sequence[int] = (),
        **options: Unpack[CriticOptions],
    ) -> None:
        def make_actor(num_obs: int, num_actions: int) -> DiffusionPolicy:
            return DiffusionPolicy(
                num_obs,
                num_actions,
                num_denoise_steps,
                prior_std,
                init_friction,
                actor_hidden_dims,
                residual,
                state_encoder_dims,
            )

        super().__init__(obs, obs_groups, action_low, action_high, make_actor, **options)

    def sample_chain(self, actor_obs: Tensor) -> Chain:
        """Return fresh chains of the current actor at normalised observations ``[B, O]``."""
        return self.actor.sample(actor_obs, self.actor.draw_noise(len(actor_obs)))

    def deterministic_latent(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return where the ODE leads, pre-squash actions ``[B, A]``; see :class:`ActorCritic`."""
        return solve_chain(self.actor, actor_obs, options, start)

    def _draw_start(self, actor_obs: Tensor) -> Tensor:
        return self.actor.draw_start(len(actor_obs))

    def actor_metrics(self) -> dict[str, Tensor]:
        """Return the mean friction."""
        return {"friction": self.actor.friction().detach().mean()}

    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> ChainInferencePolicy:
        """Freeze the current policy: the ODE from a fixed start; see :class:`ActorCritic`."""
        return frozen_chain(self.actor_obs, self.actor, options, self.squash)

    def describe(self, options: ChainOptions = WHOLE_CHAIN) -> dict[str, Any]:
        """Return metadata of the policy: its action bounds and its chain."""
        return super().describe() | options.describe(self.actor.num_steps)


def solve_chain(actor: DiffusionPolicy, actor_obs: Tensor, options: ChainOptions, start: Tensor | None) -> Tensor:
    """Return where a diffusion policy's ODE leads, pre-squash actions ``[B, A]``.

    Args:
        actor: The policy.
        actor_obs: Normalised observations ``[B, O]``.
        options: How the ODE runs.
        start: Initial latents ``[B, A]``; None is the fixed one of the options.
    """
    if start is None:
        start = options.starts_for(actor_obs, actor.num_actions, actor.prior_std)
    return actor.solve_ode(actor_obs, start, options.score_scale, options.steps_of(actor.num_steps))


def frozen_chain(
    encoder: ObservationEncoder, actor: DiffusionPolicy, options: ChainOptions, squash: Squash | None
) -> ChainInferencePolicy:
    """Return a diffusion policy's ODE from a fixed start, frozen.

    Args:
        encoder: Normaliser of the observation.
        actor: The policy.
        options: How the ODE runs.
        squash: Bounds of the actions; None where the chain's end is the action.
    """
    with torch.inference_mode(False), torch.no_grad():
        firsts = first_steps(actor.num_steps, options.steps_of(actor.num_steps))
        steps, scale = merged_sizes(actor.step_sizes(), firsts), options.score_scale
        return ChainInferencePolicy(
            encoder,
            actor.score_network,
            actor.score_network.time_features(actor.num_steps)[firsts],
            # x + e ((2c-1) p(x) + c u) = (1 - (2c-1) e / s0^2) x + c e u
            contraction=1.0 - (2.0 * scale - 1.0) * steps / actor.prior_std**2,
            gain=scale * steps,
            start=options.start(actor.num_actions, actor.prior_std).to(steps),
            start_std=actor.prior_std,
            squash=squash,
        )
