# SPDX-License-Identifier: BSD-3-Clause
"""Actors for RSL-RL's policy-gradient algorithms that generate their actions in several steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.choices import InitialLatent
from trudi_rsl.diffusion.signed_permutation import SignedPermutations
from trudi_rsl.errors import ConfigError
from trudi_rsl.policies.actor_critic import check_initial_latent
from trudi_rsl.policies.base import WHOLE_CHAIN, ChainOptions, ChainPolicy
from trudi_rsl.policies.deployable import ChainInferencePolicy, DeployablePolicy
from trudi_rsl.policies.observations import ObservationEncoder

ChainT = TypeVar("ChainT", bound=ChainPolicy)


class GenerativeModel(DeployablePolicy, Generic[ChainT]):
    """An RSL-RL actor model without a tractable density, in simulator units and unbounded, like PPO's.

    It implements the interface of ``rsl_rl.models.MLPModel`` with a distribution, except entropy and KL, which only
    subclasses with closed forms provide. What the ratio needs to know about an action passes through RSL-RL's storage
    as the distribution's parameters. Example observations define the sizes of the groups that it observes.
    """

    actor: ChainT
    output_std: Tensor
    """Standard deviation ``[A]`` of the actions last sampled, over the environments."""
    output_distribution_params: tuple[Tensor, ...] = ()
    """What the ratio needs to know about the actions last sampled or evaluated, each ``[B, ...]``, detached."""

    def __init__(self, obs: TensorDict, groups: list[str], num_actions: int, obs_normalization: bool) -> None:
        super().__init__()
        num_obs = sum(obs[group].shape[-1] for group in groups)
        self.num_actions = num_actions
        self.actor_obs = ObservationEncoder(groups, num_obs, obs_normalization)
        self.register_buffer("output_std", torch.ones(num_actions), persistent=False)

    @abstractmethod
    def sample(self, actor_obs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return actions ``[B, A]`` sampled at normalised observations ``[B, O]``, and what the ratio needs of them."""

    @abstractmethod
    def log_ratios(self, obs: TensorDict, actions: Tensor, old_params: Sequence[Tensor]) -> Tensor:
        """Return the log-ratios of this policy to the one that sampled actions ``[B, A]``, ``[B]`` or ``[B, N]``.

        ``old_params`` is what :meth:`sample` returned with the actions.
        """

    @abstractmethod
    def mirror(self, params: Sequence[Tensor], mirrors: SignedPermutations) -> tuple[Tensor, ...]:
        """Return what :meth:`sample` would have returned with the images of the actions, each ``[G*B, ...]``.

        Row ``g * B + b`` is image ``g`` of row b; the first images are the originals.
        """

    # -- acting ---------------------------------------------------------------------------------------------------

    def forward(
        self, obs: TensorDict, masks: Tensor | None = None, hidden_state: object = None, stochastic_output: bool = False
    ) -> Tensor:
        """Return actions ``[B, A]`` for observation groups of batch ``[B]``, as RSL-RL's models do.

        Samples with ``stochastic_output``, else acts deterministically; ignores what only recurrent models use.
        """
        if not stochastic_output:
            return self.deterministic_actions(self.actor_obs(obs))
        actions, self.output_distribution_params = self.sample(self.actor_obs(obs))
        self.output_std.copy_(actions.detach().std(0, correction=0))
        return actions

    def act(
        self, obs: TensorDict, sampler: Literal["ode", "sde"] = "sde", initial_latent: InitialLatent = "zeros"
    ) -> Tensor:
        """Return actions ``[B, A]``; a ValueError for an unknown option.

        Args:
            obs: Observation groups, batch ``[B]``.
            sampler: ``sde`` samples as in training, ``ode`` adds no noise between the steps.
            initial_latent: Start of ``ode``: sampled from the prior (``random``) or ``zeros``.
        """
        check_initial_latent(initial_latent)
        actor_obs = self.actor_obs(obs)
        if sampler == "sde":
            return self.sample(actor_obs)[0]
        if sampler == "ode":
            start = self.actor.draw_prior(len(actor_obs)) if initial_latent == "random" else None
            return self.deterministic_actions(actor_obs, start=start)
        raise ValueError(f"Unknown sampler {sampler!r}; use ode or sde.")

    def deterministic_actions(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return the end of the noise-free chain, ``[B, A]``; see :class:`DeployablePolicy`."""
        _require_unscaled(options)
        return self.actor.ode_path(actor_obs, options, start)[-1]

    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> ChainInferencePolicy:
        """Return a frozen copy of the noise-free chain from a fixed start; see :class:`DeployablePolicy`."""
        _require_unscaled(options)
        return ChainInferencePolicy(self.actor_obs, self.actor, options)

    def describe(self, options: ChainOptions = WHOLE_CHAIN) -> dict[str, Any]:
        """Return export metadata of the chain."""
        return options.describe(self.actor.num_steps)

    def get_output_log_prob(self, outputs: Tensor) -> Tensor:
        """Return zeros ``[B]``: the old policy's part of the ratio is stored with the parameters."""
        return outputs.new_zeros(len(outputs))


def activation_class(name: str) -> type[nn.Module]:
    """Return the class of an activation from its RSL-RL name; raise a :class:`ConfigError` for an unknown one."""
    from rsl_rl.utils import resolve_nn_activation  # not there in versions without models

    try:
        return type(resolve_nn_activation(name))
    except ValueError as error:
        raise ConfigError(f"agent.actor.activation: {error}") from error


def require_at_least_one(name: str, value: object) -> None:
    """Raise a :class:`ConfigError` with the setting's name unless it is a positive integer."""
    if type(value) is not int or value < 1:
        raise ConfigError(f"agent.actor.{name} must be an integer of at least 1; got {value!r}.")


def require_positive(name: str, value: object) -> None:
    """Raise a :class:`ConfigError` with the setting's name unless it is a positive number."""
    if not isinstance(value, (int, float)) or not 0.0 < value < float("inf"):
        raise ConfigError(f"agent.actor.{name} must be a number above 0; got {value!r}.")


def _require_unscaled(options: ChainOptions) -> None:
    if options.score_scale != 1.0:
        raise ValueError(f"score_scale must be 1 for a policy that is not a score, got {options.score_scale}.")
