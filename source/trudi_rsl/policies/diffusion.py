# SPDX-License-Identifier: BSD-3-Clause
"""TruDi's diffusion policy and its actor-critic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trudi_rsl.diffusion.chain import Chain, denoising_mean, log_det_squash, log_prob_bound, ode_step, prior_score
from trudi_rsl.diffusion.schedule import cosine_weights, first_steps, merged_sizes, step_sizes
from trudi_rsl.diffusion.score_network import ScoreNetwork
from trudi_rsl.policies.actor_critic import ActorCritic
from trudi_rsl.policies.base import WHOLE_CHAIN, ChainOptions, ChainPolicy, ChainSteps, Decision, Policy
from trudi_rsl.policies.deployable import ChainInferencePolicy


class DiffusionPolicy(Policy, ChainPolicy):
    """Distribution over unit actions ``tanh(x_N)`` reached by ``N`` denoising steps from Gaussian noise.

    Args:
        num_obs: Dimension ``O`` of the (normalised) observation.
        num_actions: Action dimension ``A``.
        num_steps: Denoising steps ``N``, at least 1.
        prior_std: Standard deviation ``s0`` of ``x_0``.
        init_friction: Initial friction, one learned value per action dimension.
        hidden_dims, residual, encoder_dims, activation: As for :class:`ScoreNetwork`.
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
        """Run the chain ``x_0 = s0 noise_0``, ``x_{k+1} = mu_k + sqrt(2 e_k) noise_{k+1}``, differentiably.

        Observations are normalised ``[B, O]``, the noise is standard normal ``[N+1, B, A]``.
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

    def ode_path(self, obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None) -> list[Tensor]:
        """Return the latents of the ODE; the last are the pre-squash actions. See :class:`ChainPolicy`."""
        net = self.score_network
        obs_features, time_features = net.obs_features(obs), net.time_features(self.num_steps)
        firsts = first_steps(self.num_steps, options.resolve_steps(self.num_steps))
        path = [self.fixed_start(options, obs).expand(len(obs), -1) if start is None else start]
        for k, size in zip(firsts, merged_sizes(self.step_sizes(), firsts), strict=True):
            control = net(path[-1], obs_features + time_features[k])
            path.append(ode_step(path[-1], control, size, self.prior_std, options.score_scale))
        return path

    def chain_steps(self, options: ChainOptions) -> ChainSteps:
        """Return the coefficients of the ODE; see :class:`ChainPolicy`."""
        firsts = first_steps(self.num_steps, options.resolve_steps(self.num_steps))
        steps, scale = merged_sizes(self.step_sizes(), firsts), options.score_scale
        # x + e ((2c-1) p(x) + c u) = (1 - (2c-1) e / s0^2) x + c e u
        contraction = 1.0 - (2.0 * scale - 1.0) * steps / self.prior_std**2
        features = self.score_network.time_features(self.num_steps)[firsts]
        return ChainSteps(self.score_network, features, contraction, scale * steps)

    def controls(self, obs: Tensor, latents: Tensor, which: Tensor | None = None) -> Tensor:
        """Return the controls ``u_k`` at latents ``x_k``, both ``[M, B, A]``, in one batched network call.

        ``which`` holds the indices of the steps ``[M]``, all ``N`` by default.
        """
        net = self.score_network
        time_features = net.time_features(self.num_steps)
        if which is not None:
            time_features = time_features[which]
        return net(latents, net.obs_features(obs) + time_features[:, None])

    def means(self, obs: Tensor, latents: Tensor) -> Tensor:
        """Return the means ``mu_k`` ``[N, B, A]`` at latents ``x_0 .. x_{N-1}`` ``[N, B, A]``; see :meth:`controls`."""
        return denoising_mean(latents, self.controls(obs, latents), self.step_sizes()[:, None], self.prior_std)

    def log_prob_bound(self, chain: Chain) -> Tensor:
        """Return the bound ``lp`` on the log-density of the unit action, ``[B]`` nats; ``E[-lp]`` <= entropy."""
        bound = log_prob_bound(chain.latents, chain.noise, self.step_sizes(), self.prior_std)
        return bound - log_det_squash(chain.latents[-1])

    def decide(self, obs: Tensor, noise: Tensor) -> Decision:
        """Return the decisions that noise ``[N+1, B, A]`` determines, with :meth:`log_prob_bound` as log-density.

        Their trace is :meth:`trace_of` the chain.
        """
        chain = self.sample(obs, noise.to(self.weights.dtype))
        return Decision(chain.latents[-1], self.log_prob_bound(chain), self.trace_of(chain))

    # -- traces -------------------------------------------------------------------------------------------------------

    @property
    def contracts(self) -> bool:
        """Whether each uncontrolled step shrinks distances, ``e_k <= s0^2``; otherwise the chain magnifies errors."""
        return bool((self.step_sizes() <= self.prior_std**2).all())

    def store_in_half(self) -> None:
        """Store of a chain what it can be rebuilt from, in half as many bytes; see :meth:`trace_of`."""
        self.trace_dtype = torch.float16

    def draw_stored_noise(self, batch: int) -> Tensor:
        """Return noise ``[N+1, B, A]`` in the type of traces, so that a rebuilt chain is the one that acted.

        Rounding it inside of a compiled function would not do: inductor leaves out conversions to a type and back.
        """
        return self.draw_noise(batch).to(dtype=self.trace_dtype)

    def trace_of(self, chain: Chain) -> Tensor:
        """Return what is stored of a chain, ``[2N+1, B, A]``.

        In full precision these are the latents ``x_0 .. x_N``, then the denoising means. In half precision, which would
        move latents by more than the last steps' noise, they are the chain's noise, which has been drawn in it, and the
        controls. A control's rounding is relative to the control: it costs the path KL about 1e-7 of the energy
        ``sum_k e_k u_k^2 / 4``, the KL between the controlled and the uncontrolled chain.
        """
        if self.trace_dtype is None:
            return torch.cat([chain.latents, chain.means])
        before, largest = chain.latents[:-1], torch.finfo(self.trace_dtype).max
        controls = (chain.means - before) / self.step_sizes()[:, None] - prior_score(before, self.prior_std)
        return torch.cat([chain.noise, controls.clamp(-largest, largest)])

    def rebuild(self, trace: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents ``[N+1, B, A]`` and means ``[N, B, A]`` of a trace, taken with step sizes ``[N, A]``."""
        first, second = trace.split([self.num_steps + 1, self.num_steps])
        if self.trace_dtype is None:
            return first, second
        noise, controls = first.to(steps.dtype), second.to(steps.dtype)
        sigmas = (2.0 * steps).sqrt()
        latents, means = [self.prior_std * noise[0]], []
        for k in range(self.num_steps):
            means.append(denoising_mean(latents[k], controls[k], steps[k], self.prior_std))
            latents.append(means[k] + sigmas[k] * noise[k + 1])
        return torch.stack(latents), torch.stack(means)


class DiffusionActorCritic(ActorCritic[DiffusionPolicy]):
    """Diffusion actor and distributional Q critic over RSL-RL observation groups."""

    @staticmethod
    def make_actor(
        num_obs: int,
        num_actions: int,
        num_denoise_steps: int = 8,
        prior_std: float = 2.5,
        init_friction: float = 1.0,
        actor_hidden_dims: Sequence[int] = (512, 512, 512),
        residual: bool = False,
        state_encoder_dims: Sequence[int] = (),
    ) -> DiffusionPolicy:
        """Return a new actor; see :class:`DiffusionPolicy`."""
        chain = (num_denoise_steps, prior_std, init_friction)
        return DiffusionPolicy(num_obs, num_actions, *chain, actor_hidden_dims, residual, state_encoder_dims)

    def deterministic_actions(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return the simulator actions ``[B, A]`` at the end of the ODE; see :class:`DeployablePolicy`."""
        return self.to_simulator(self.actor.ode_path(actor_obs, options, start)[-1].tanh())

    def actor_metrics(self) -> dict[str, Tensor]:
        """Return the mean friction."""
        return {"friction": self.actor.friction().detach().mean()}

    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> ChainInferencePolicy:
        """Return a frozen copy of the ODE from a fixed start; see :class:`DeployablePolicy`."""
        return ChainInferencePolicy(self.actor_obs, self.actor, options, self.squash)

    def describe(self, options: ChainOptions = WHOLE_CHAIN) -> dict[str, Any]:
        """Return export metadata: action bounds and chain."""
        return super().describe() | options.describe(self.actor.num_steps)
