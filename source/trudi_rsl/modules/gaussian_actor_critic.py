# SPDX-License-Identifier: BSD-3-Clause
"""The actor-critic of REPPO (arXiv 2507.11019): its actor is a tanh-Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.modules.actor_critic import ActorCritic, CriticOptions
from trudi_rsl.modules.inference_policy import GaussianInferencePolicy
from trudi_rsl.networks import GaussianPolicy


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

    def deterministic_latent(self, actor_obs: Tensor, score_scale: float = 1.0, start: Tensor | None = None) -> Tensor:
        """Return the Gaussian's mean ``[B, A]``; see :class:`ActorCritic`."""
        _refuse_ode_options(score_scale, start)
        return self.actor(actor_obs).mean

    def deployable(self, score_scale: float = 1.0, seed: int | None = None) -> GaussianInferencePolicy:
        """Freeze the current policy's mean; see :class:`ActorCritic`."""
        _refuse_ode_options(score_scale, seed)
        return GaussianInferencePolicy(self)


def _refuse_ode_options(score_scale: float, start: object) -> None:
    if score_scale != 1.0 or start is not None:
        raise ValueError(
            "A Gaussian policy acts by its mean, which has no score scale and no initial latent. Leave both at their "
            f"defaults; got score_scale={score_scale} and {'no' if start is None else 'an'} initial latent."
        )
