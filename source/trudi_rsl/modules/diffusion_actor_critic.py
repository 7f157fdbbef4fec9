# SPDX-License-Identifier: BSD-3-Clause
"""The module a user holds: diffusion actor, Q critic and their observation normalisers."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.diffusion import Chain, DiffusionPolicy
from trudi_rsl.modules.inference_policy import InferencePolicy, OnnxInferencePolicy
from trudi_rsl.modules.observations import ObservationEncoder
from trudi_rsl.networks import QCritic

Sampler = Literal["ode", "sde", "best_of_k"]
InitialLatent = Literal["random", "zeros"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)

ENTROPY_OF_UNIT_GAUSSIAN = 0.5 * math.log(2.0 * math.pi * math.e)


class DiffusionActorCritic(nn.Module):
    """Diffusion actor and distributional Q critic over RSL-RL observation groups.

    Actions inside the package are unit actions in [-1, 1]; what this module returns to a simulator is
    ``offset + scale * unit_action``.

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
        critic_hidden_dim: Width of the critic.
        value_range: Lower and upper end of the critic's values.
        num_bins: Number of value bins.
        obs_normalization: Normalise observations with running statistics.
    """

    is_recurrent = False
    action_scale: Tensor
    action_offset: Tensor
    entropy_per_dim: Tensor

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
        critic_hidden_dim: int = 512,
        value_range: tuple[float, float] = (-10.0, 10.0),
        num_bins: int = 151,
        obs_normalization: bool = True,
    ) -> None:
        super().__init__()
        actor_groups, critic_groups = obs_groups["actor"], obs_groups["critic"]
        num_actor_obs = sum(obs[g].shape[-1] for g in actor_groups)
        num_critic_obs = sum(obs[g].shape[-1] for g in critic_groups)
        num_actions = action_low.shape[0]
        self.asymmetric = list(actor_groups) != list(critic_groups)
        self.num_actions = num_actions
        self.actor_obs = ObservationEncoder(actor_groups, num_actor_obs, obs_normalization)
        self.critic_obs = (
            ObservationEncoder(critic_groups, num_critic_obs, obs_normalization) if self.asymmetric else self.actor_obs
        )
        self.actor = DiffusionPolicy(
            num_actor_obs,
            num_actions,
            num_denoise_steps,
            prior_std,
            init_friction,
            actor_hidden_dims,
            residual,
            state_encoder_dims,
        )
        self.old_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.critic = QCritic(num_critic_obs, num_actions, critic_hidden_dim, *value_range, num_bins)
        self.register_buffer("action_scale", 0.5 * (action_high - action_low))
        self.register_buffer("action_offset", 0.5 * (action_high + action_low))
        self.register_buffer("entropy_per_dim", torch.zeros(()), persistent=False)

    # -- acting ---------------------------------------------------------------------------------------------------

    def forward(
        self,
        obs: TensorDict,
        masks: Tensor | None = None,
        hidden_state: object = None,
        stochastic_output: bool = False,
    ) -> Tensor:
        """Return simulator actions ``[B, A]``, with the signature of RSL-RL's models.

        Args:
            obs: Observation groups, batch ``[B]``.
            masks: Ignored; part of RSL-RL's signature for recurrent models.
            hidden_state: Ignored, likewise.
            stochastic_output: Sample the SDE instead of solving the ODE from zeros.
        """
        return self.act(obs, "sde") if stochastic_output else self.act(obs, "ode", initial_latent="zeros")

    def act(
        self,
        obs: TensorDict,
        sampler: Sampler = "sde",
        score_scale: float = 1.0,
        num_candidates: int = 20,
        initial_latent: InitialLatent = "random",
    ) -> Tensor:
        """Return simulator actions ``[B, A]``.

        Args:
            obs: Observation groups, batch ``[B]``; ``best_of_k`` also reads the critic's groups.
            sampler: ``sde`` is the sampler of training; ``ode`` the deterministic chain from a random or zero start;
                ``best_of_k`` the SDE sample of largest Q among ``num_candidates``.
            score_scale: Score scale ``c`` of the ODE, above 0 (paper Eq. 185: 1/2 is the probability-flow ODE).
            num_candidates: ``K`` of ``best_of_k``, at least 1.
            initial_latent: Start of the ODE: one mode per draw (``random``), or the same for all (``zeros``).

        Raises:
            ValueError: If an option is unknown or out of range.
        """
        if sampler == "ode":
            return self.to_simulator(self._solve_ode(self.actor_obs(obs), score_scale, initial_latent))
        if sampler == "sde":
            return self.to_simulator(self.sample_chain(self.actor_obs(obs)).latents[-1].tanh())
        if sampler == "best_of_k":
            return self.to_simulator(self._best_of_k(self.actor_obs(obs), self.critic_obs(obs), num_candidates))
        raise ValueError(f"Unknown sampler {sampler!r}; use one of {', '.join(SAMPLERS)}.")

    def act_inference(self, obs: TensorDict) -> Tensor:
        """Return the deterministic actions ``[B, A]`` that a deployed policy takes."""
        return self(obs)

    def evaluate(self, obs: TensorDict, actions: Tensor) -> Tensor:
        """Return ``Q(s, a)`` ``[B]`` of simulator actions ``[B, A]``."""
        unit = (actions - self.action_offset) / self.action_scale
        return self.critic.value(self.critic_obs(obs), unit)

    def sample_chain(self, actor_obs: Tensor) -> Chain:
        """Return fresh chains of the current actor at normalised observations ``[B, O]``."""
        return self.actor.sample(actor_obs, self.actor.draw_noise(actor_obs.shape[0]))

    def decide(self, actor_obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Chain]:
        """Return what training needs of the decisions at normalised observations ``[B, O]``.

        Args:
            actor_obs: Normalised observations ``[B, O]``.
            noise: Standard normal ``[N+1, B, A]``.

        Returns:
            Unit actions ``[B, A]``, their log-prob bounds ``[B]`` in nats, and the chains.
        """
        chain = self.actor.sample(actor_obs, noise)
        return chain.latents[-1].tanh(), self.actor.log_prob_bound(chain), chain

    def to_simulator(self, unit_actions: Tensor) -> Tensor:
        """Return ``offset + scale * unit_actions``, ``[..., A]``."""
        return self.action_offset + self.action_scale * unit_actions

    def _solve_ode(self, actor_obs: Tensor, score_scale: float, initial_latent: InitialLatent) -> Tensor:
        if not score_scale > 0.0:
            raise ValueError(f"score_scale must be above 0, got {score_scale}.")
        if initial_latent not in get_args(InitialLatent):
            raise ValueError(f"Unknown initial_latent {initial_latent!r}; use one of {get_args(InitialLatent)}.")
        x0 = actor_obs.new_zeros(actor_obs.shape[0], self.num_actions)
        if initial_latent == "random":
            x0 = self.actor.prior_std * torch.randn_like(x0)
        return self.actor.solve_ode(actor_obs, x0, score_scale).tanh()

    def _best_of_k(self, actor_obs: Tensor, critic_obs: Tensor, num_candidates: int) -> Tensor:
        if num_candidates < 1:
            raise ValueError(f"num_candidates must be at least 1, got {num_candidates}.")
        batch = actor_obs.shape[0]
        chain = self.sample_chain(actor_obs.repeat(num_candidates, 1))
        candidates = chain.latents[-1].tanh().view(num_candidates, batch, self.num_actions)
        values = self.critic.value(critic_obs.expand(num_candidates, *critic_obs.shape), candidates)
        return candidates[values.argmax(0), torch.arange(batch, device=values.device)]

    # -- training -------------------------------------------------------------------------------------------------

    def update_normalization(self, obs: TensorDict) -> None:
        """Fold one step's observations into the normalisers; each observation must be given once."""
        self.actor_obs.update(self.actor_obs.concatenate(obs))
        if self.asymmetric:
            self.critic_obs.update(self.critic_obs.concatenate(obs))

    def sync_old_actor(self) -> None:
        """Make the old actor a copy of the actor, value by value and in place."""
        self.old_actor.load_state_dict(self.actor.state_dict())

    @property
    def output_std(self) -> Tensor:
        """Standard deviation ``[A]`` of the Gaussian with the same entropy bound per dimension, in simulator units."""
        return self.action_scale * torch.exp(self.entropy_per_dim - ENTROPY_OF_UNIT_GAUSSIAN)

    # -- RSL-RL's model interface ---------------------------------------------------------------------------------

    def reset(self, dones: Tensor | None = None, hidden_state: object = None) -> None:
        """Do nothing: the policy has no memory."""

    def get_hidden_state(self) -> None:
        """Return None: the policy has no memory."""

    def as_jit(self) -> InferencePolicy:
        """Return the deployable policy, ``obs [1, O] -> actions [1, A]``, ready for ``torch.jit.script``."""
        return InferencePolicy.from_actor_critic(self)

    def as_onnx(self, verbose: bool = False) -> OnnxInferencePolicy:
        """Return the deployable policy with the input and output names that RSL-RL's ONNX exporter reads."""
        return OnnxInferencePolicy.from_actor_critic(self)
