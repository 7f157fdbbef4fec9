# SPDX-License-Identifier: BSD-3-Clause
"""Actor, Q critic and their observation normalisers in one module."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.choices import INITIAL_LATENTS, SAMPLERS, InitialLatent, Sampler
from trudi_rsl.networks import QCritic
from trudi_rsl.policies.base import WHOLE_CHAIN, ChainOptions, ChainPolicy, Decision, Policy
from trudi_rsl.policies.deployable import DeployablePolicy, Squash
from trudi_rsl.policies.encoded import deployed, onnx_form
from trudi_rsl.policies.make_encoder import make_encoder
from trudi_rsl.policies.observations import ObservationEncoder
from trudi_rsl.policies.recurrent import RecurrentEncoder

ENTROPY_OF_UNIT_GAUSSIAN = 0.5 * math.log(2.0 * math.pi * math.e)

PolicyT = TypeVar("PolicyT", bound=Policy)


def check_initial_latent(value: str) -> None:
    """Raise a ValueError for the name of an unknown initial latent."""
    if value not in INITIAL_LATENTS:
        raise ValueError(f"Unknown initial_latent {value!r}; use one of {INITIAL_LATENTS}.")


class ActorCritic(DeployablePolicy, Generic[PolicyT]):
    """Actor and distributional Q critic over RSL-RL observation groups.

    Actions inside the package are unit actions in [-1, 1]; the simulator receives ``offset + scale * unit_action``.

    Args:
        obs: Example observations, which define the sizes of the groups.
        obs_groups: Group names of the ``actor`` and ``critic`` observation sets.
        action_low, action_high: Action bounds ``[A]``, the upper ones above the lower ones.
        critic_hidden_dim, value_range, num_bins: As for :class:`~trudi_rsl.networks.QCritic`.
        obs_normalization: Whether to normalise observations with running statistics.
        actor_encoder, critic_encoder: Sections of RSL-RL's models that encode the observations, see
            :class:`~trudi_rsl.settings.LearnerCfg`; None concatenates them.
        actor_options: Options of :meth:`make_actor`.
    """

    action_scale: Tensor
    action_offset: Tensor
    entropy_per_dim: Tensor

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        action_low: Tensor,
        action_high: Tensor,
        critic_hidden_dim: int = 512,
        value_range: tuple[float, float] = (-10.0, 10.0),
        num_bins: int = 151,
        obs_normalization: bool = True,
        actor_encoder: Mapping[str, Any] | None = None,
        critic_encoder: Mapping[str, Any] | None = None,
        **actor_options: Any,
    ) -> None:
        super().__init__()
        actor_groups, critic_groups = obs_groups["actor"], obs_groups["critic"]
        self.num_actions = num_actions = action_low.shape[0]
        # learned encoders are never shared: each is trained by the loss of its own network
        self.asymmetric = list(actor_groups) != list(critic_groups) or bool(actor_encoder or critic_encoder)
        self.actor_obs = self.critic_obs = make_encoder(
            obs, actor_groups, actor_encoder, "actor_encoder", obs_normalization
        )
        if self.asymmetric:
            self.critic_obs = make_encoder(obs, critic_groups, critic_encoder, "critic_encoder", obs_normalization)
        self.actor = self.make_actor(self.actor_obs.num_latents, num_actions, **actor_options)
        self.old_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.old_actor_obs: ObservationEncoder | None = None
        """Encoder of the old actor; None if latents of the rollout are the old ones without it: the encoder has no
        parameters, or rollouts store its latents."""
        if self.actor_obs.is_learned and not self.actor_obs.is_recurrent:
            self.old_actor_obs = copy.deepcopy(self.actor_obs).requires_grad_(False)
        self.critic = QCritic(self.critic_obs.num_latents, num_actions, critic_hidden_dim, *value_range, num_bins)
        self.register_buffer("action_scale", 0.5 * (action_high - action_low))
        self.register_buffer("action_offset", 0.5 * (action_high + action_low))
        self.register_buffer("entropy_per_dim", torch.zeros(()), persistent=False)

    @staticmethod
    @abstractmethod
    def make_actor(*sizes: Any, **options: Any) -> PolicyT:
        """Return a new actor; ``sizes`` are the dimensions ``O`` of observations and ``A`` of actions."""

    # -- acting ---------------------------------------------------------------------------------------------------

    def forward(
        self, obs: TensorDict, masks: Tensor | None = None, hidden_state: object = None, stochastic_output: bool = False
    ) -> Tensor:
        """Return simulator actions ``[B, A]`` for observation groups of batch ``[B]``, as RSL-RL's models do.

        Samples with ``stochastic_output``, else acts deterministically. A recurrent encoder keeps its state itself, see
        :meth:`reset`; ``masks`` and ``hidden_state`` are ignored.
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
            sampler: ``sde`` samples as in training; ``ode`` runs the deterministic chain, or takes a Gaussian's mean;
                ``best_of_k`` takes the sample of largest Q among ``num_candidates``.
            score_scale: Score scale ``c`` of the ODE, above 0 (paper Eq. 185: 1/2 is the probability-flow ODE).
            num_candidates: ``K`` of ``best_of_k``, at least 1.
            initial_latent: Start of the ODE: sampled from the prior (``random``), which selects a mode at random, or
                ``zeros``. Ignored by a Gaussian.

        Raises:
            ValueError: If an option is unknown or out of range, or a Gaussian gets another score scale than 1.
        """
        if sampler == "ode":
            check_initial_latent(initial_latent)
            actor_obs, start = self.actor_obs(obs), None
            if initial_latent == "random" and isinstance(self.actor, ChainPolicy):
                start = self.actor.draw_prior(len(actor_obs))
            return self.deterministic_actions(actor_obs, ChainOptions(score_scale), start)
        if sampler == "sde":
            return self.to_simulator(self.decide(self.actor_obs(obs)).action)
        if sampler == "best_of_k":
            return self.to_simulator(self._best_of_k(self.actor_obs(obs), self.critic_obs(obs), num_candidates))
        raise ValueError(f"Unknown sampler {sampler!r}; use one of {', '.join(SAMPLERS)}.")

    def act_inference(self, obs: TensorDict) -> Tensor:
        """Return the deterministic actions ``[B, A]`` of a deployed policy."""
        return self(obs)

    def evaluate(self, obs: TensorDict, actions: Tensor) -> Tensor:
        """Return ``Q(s, a)`` ``[B]`` of simulator actions ``[B, A]``."""
        return self.critic.value(self.critic_obs(obs), (actions - self.action_offset) / self.action_scale)

    def decide(self, actor_obs: Tensor, noise: Tensor | None = None) -> Decision:
        """Return the actor's decisions at latents of the encoder ``[B, O]``; samples the noise if there is none."""
        return self.actor.decide(actor_obs, self.actor.draw_stored_noise(len(actor_obs)) if noise is None else noise)

    def to_simulator(self, unit_actions: Tensor) -> Tensor:
        """Return ``offset + scale * unit_actions``, ``[..., A]``."""
        return torch.addcmul(self.action_offset, self.action_scale, unit_actions)

    def _best_of_k(self, actor_obs: Tensor, critic_obs: Tensor, num_candidates: int) -> Tensor:
        if num_candidates < 1:
            raise ValueError(f"num_candidates must be at least 1, got {num_candidates}.")
        candidates = self.decide(actor_obs.repeat(num_candidates, 1)).action.unflatten(0, (num_candidates, -1))
        values = self.critic.value(critic_obs.expand(num_candidates, *critic_obs.shape), candidates)
        return candidates[values.argmax(0), torch.arange(len(actor_obs), device=values.device)]

    # -- training -------------------------------------------------------------------------------------------------

    @property
    def encoders(self) -> tuple[ObservationEncoder, ...]:
        """The actor's observation encoder, and the critic's if it has its own."""
        return (self.actor_obs, self.critic_obs) if self.asymmetric else (self.actor_obs,)

    @property
    def recurrent_encoders(self) -> dict[str, RecurrentEncoder]:
        """Those of the encoders that remember, by ``actor`` and ``critic``."""
        named = zip(("actor", "critic"), self.encoders, strict=False)
        return {name: encoder for name, encoder in named if isinstance(encoder, RecurrentEncoder)}

    @property
    def is_recurrent(self) -> bool:
        """Whether the actor or the critic remembers."""
        return bool(self.recurrent_encoders)

    @property
    def image_groups(self) -> list[str]:
        """Names of the groups that are images of the actor or the critic."""
        return list(dict.fromkeys(name for encoder in self.encoders for name in encoder.image_groups))

    @property
    def groups(self) -> set[str]:
        """Names of all groups that the actor or the critic reads."""
        return {*self.actor_obs.groups, *self.critic_obs.groups, *self.image_groups}

    def images(self, obs: Any) -> dict[str, Tensor]:
        """Return the images among observation groups, ``[..., C, H, W]``, each once."""
        return {name: obs[name] for name in self.image_groups}

    def reset(self, dones: Tensor | None = None, hidden_state: object = None) -> None:
        """Forget the environments in which an episode ended, where ``dones`` ``[B]`` is not 0; all of them for None."""
        for encoder in self.encoders:
            encoder.reset(dones)

    def update_normalization(self, obs: TensorDict) -> None:
        """Update the observation statistics with the groups of one step, each observation once."""
        self.update_statistics(*self.raw_observations(obs))

    def raw_observations(self, obs: TensorDict) -> tuple[Tensor, ...]:
        """Return the raw observations of the :attr:`encoders`, ``[..., O]`` and ``[..., Oc]``."""
        return tuple(encoder.concatenate(obs) for encoder in self.encoders)

    def update_statistics(self, *raw: Tensor) -> None:
        """Update the statistics of the :attr:`encoders` with their raw observations ``[E, O]`` and ``[E, Oc]``."""
        for encoder, x in zip(self.encoders, raw, strict=True):
            encoder.update(x)

    def sync_old_actor(self) -> None:
        """Copy the actor's parameters, and those of its encoder, into the old actor, in place."""
        self.old_actor.load_state_dict(self.actor.state_dict())
        if self.old_actor_obs is not None:
            self.old_actor_obs.load_state_dict(self.actor_obs.state_dict())

    def actor_metrics(self) -> dict[str, Tensor]:
        """Return metrics of the actor's own parameters: detached scalars."""
        return {}

    @property
    def output_std(self) -> Tensor:
        """Standard deviation ``[A]`` of the Gaussian with the same entropy bound per dimension, in simulator units."""
        return self.action_scale * torch.exp(self.entropy_per_dim - ENTROPY_OF_UNIT_GAUSSIAN)

    # -- deploying ------------------------------------------------------------------------------------------------

    def as_jit(self) -> nn.Module:
        """Return the deployable policy for ``torch.jit.script``, see :func:`~trudi_rsl.policies.encoded.deployed`."""
        return deployed(self)

    def as_onnx(self, verbose: bool = False) -> nn.Module:
        """Return the deployable policy with the names that RSL-RL's ONNX exporter reads."""
        return onnx_form(deployed(self))

    @property
    def squash(self) -> Squash:
        """The map from pre-squash to simulator actions."""
        return Squash(self.action_scale, self.action_offset)

    def describe(self, options: ChainOptions = WHOLE_CHAIN) -> dict[str, Any]:
        """Return export metadata: the action bounds ``[A]``."""
        return {
            "action_low": (self.action_offset - self.action_scale).tolist(),
            "action_high": (self.action_offset + self.action_scale).tolist(),
        }
