# SPDX-License-Identifier: BSD-3-Clause
"""The actor-critic of REPPO (arXiv 2507.11019): its actor is a tanh-Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.modules.actor_critic import ActorCritic, CriticOptions
from trudi_rsl.modules.chain_options import WHOLE_CHAIN, ChainOptions, refuse_chain_options
from trudi_rsl.modules.inference_policy import FirstColumns, MeanInferencePolicy
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
