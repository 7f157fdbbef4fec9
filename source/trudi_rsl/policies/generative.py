# SPDX-License-Identifier: BSD-3-Clause
"""What RSL-RL's policy-gradient algorithms ask of an actor, for actors that reach their actions in several steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.errors import ConfigError
from trudi_rsl.policies.deployable import WHOLE_CHAIN, ChainOptions, DeployablePolicy, InferencePolicy
from trudi_rsl.policies.observations import ObservationEncoder

Start = Literal["zeros", "random"]
"""Where the deterministic policy's chain starts."""


class GenerativeModel(DeployablePolicy):
    """An RSL-RL actor model without a tractable density, in the simulator's units and without bounds, as PPO's are.

    The interface is that of ``rsl_rl.models.MLPModel`` with a distribution, but for entropy and KL, which only models
    with closed forms of them have. What the ratio needs to know of a draw travels through RSL-RL's storage as the
    distribution's parameters.

    Args:
        obs: Example observations, to size the groups.
        obs_groups: Names of observation sets to names of groups.
        obs_set: The set that the model sees.
        num_actions: Action dimension ``A``.
        obs_normalization: Normalise observations with running statistics.
    """

    action_spread: Tensor

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        num_actions: int,
        obs_normalization: bool,
    ) -> None:
        super().__init__()
        groups = obs_groups[obs_set]
        num_obs = sum(obs[group].shape[-1] for group in groups)
        self.num_actions = num_actions
        self.actor_obs = ObservationEncoder(groups, num_obs, obs_normalization)
        self.register_buffer("action_spread", torch.ones(num_actions), persistent=False)
        self._params: tuple[Tensor, ...] = ()

    @abstractmethod
    def sample(self, actor_obs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return actions ``[B, A]`` as in training, and what the ratio needs to know of them, each ``[B, ...]``.

        Args:
            actor_obs: Normalised observations ``[B, O]``.
        """

    @abstractmethod
    def log_ratios(self, obs: TensorDict, actions: Tensor, old_params: Sequence[Tensor]) -> Tensor:
        """Return the log-ratios of the policy to the one that drew ``actions``, ``[B]`` or ``[B, N]``.

        Args:
            obs: Observation groups, batch ``[B]``.
            actions: ``[B, A]``.
            old_params: What :meth:`sample` returned with them.
        """

    @abstractmethod
    def random_start(self, actor_obs: Tensor) -> Tensor:
        """Return starts of the chain as in training, ``[B, A]``."""

    @abstractmethod
    def follow(self, actor_obs: Tensor, options: ChainOptions, start: Tensor | None) -> Tensor:
        """Return the actions ``[B, A]`` to which the chain leads without noise from ``start`` or the options' start."""

    @abstractmethod
    def frozen(self, options: ChainOptions) -> InferencePolicy:
        """Return a copy of the current policy."""

    # -- acting ---------------------------------------------------------------------------------------------------

    def forward(
        self, obs: TensorDict, masks: Tensor | None = None, hidden_state: object = None, stochastic_output: bool = False
    ) -> Tensor:
        """Return actions ``[B, A]``.

        Args:
            obs: Observation groups, batch ``[B]``.
            masks: Ignored; part of RSL-RL's signature for recurrent models.
            hidden_state: Ignored, likewise.
            stochastic_output: Act as in training instead of deterministically.
        """
        if not stochastic_output:
            return self.deterministic_actions(self.actor_obs(obs))
        actions, self._params = self.sample(self.actor_obs(obs))
        self.action_spread.copy_(actions.detach().std(0, correction=0))
        return actions

    def act(self, obs: TensorDict, sampler: Literal["ode", "sde"] = "sde", initial_latent: Start = "zeros") -> Tensor:
        """Return actions ``[B, A]``.

        Args:
            obs: Observation groups, batch ``[B]``.
            sampler: ``sde`` acts as in training, ``ode`` without noise from step to step.
            initial_latent: Start of ``ode``: a draw (``random``), or the same for all (``zeros``).

        Raises:
            ValueError: If an option is unknown.
        """
        if initial_latent not in get_args(Start):
            raise ValueError(f"Unknown initial_latent {initial_latent!r}; use one of {get_args(Start)}.")
        actor_obs = self.actor_obs(obs)
        if sampler == "sde":
            return self.sample(actor_obs)[0]
        if sampler == "ode":
            start = self.random_start(actor_obs) if initial_latent == "random" else None
            return self.deterministic_actions(actor_obs, start=start)
        raise ValueError(f"Unknown sampler {sampler!r}; use ode or sde.")

    def deterministic_actions(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return where the chain leads without noise; see :class:`DeployablePolicy`."""
        _require_no_ode_scale(options)
        return self.follow(actor_obs, options, start)

    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> InferencePolicy:
        """Freeze the current policy from a fixed start; see :class:`DeployablePolicy`."""
        _require_no_ode_scale(options)
        return self.frozen(options)

    # -- what RSL-RL reads of the last draw -----------------------------------------------------------------------

    @property
    def output_distribution_params(self) -> tuple[Tensor, ...]:
        """What the ratio needs to know of the actions last drawn or evaluated, each ``[B, ...]``, without gradient."""
        return self._params

    @property
    def output_std(self) -> Tensor:
        """Standard deviation ``[A]`` of the actions last drawn, over the environments."""
        return self.action_spread

    def get_output_log_prob(self, outputs: Tensor) -> Tensor:
        """Return zeros ``[B]``: the old policy's part of the ratio travels with the parameters."""
        return outputs.new_zeros(len(outputs))

    def update_normalization(self, obs: TensorDict) -> None:
        """Fold observations into the normaliser's statistics, each one once."""
        self.actor_obs.update(self.actor_obs.concatenate(obs))


def activation_class(name: str) -> type[nn.Module]:
    """Return the class of an activation by RSL-RL's name for it.

    Raises:
        ConfigError: If there is none.
    """
    from rsl_rl.utils import resolve_nn_activation  # versions without models have it elsewhere

    try:
        return type(resolve_nn_activation(name))
    except ValueError as error:
        raise ConfigError(f"agent.actor.activation: {error}") from error


def require_at_least_one(name: str, value: object) -> None:
    """Refuse a setting of the actor that is not a positive integer.

    Raises:
        ConfigError: Naming it.
    """
    if type(value) is not int or value < 1:
        raise ConfigError(f"agent.actor.{name} must be an integer of at least 1; got {value!r}.")


def require_positive(name: str, value: object) -> None:
    """Refuse a setting of the actor that is not a positive number.

    Raises:
        ConfigError: Naming it.
    """
    if not isinstance(value, (int, float)) or not 0.0 < value < float("inf"):
        raise ConfigError(f"agent.actor.{name} must be a number above 0; got {value!r}.")


def _require_no_ode_scale(options: ChainOptions) -> None:
    """Refuse another score scale than 1.

    Raises:
        ValueError: If it is another.
    """
    if options.score_scale != 1.0:
        raise ValueError(
            "This policy's network is not trained as a score, so there is nothing to scale; got "
            f"score_scale={options.score_scale}."
        )
