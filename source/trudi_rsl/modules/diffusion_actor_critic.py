# SPDX-License-Identifier: BSD-3-Clause
"""The actor-critic of TruDi: its actor is a diffusion policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.diffusion import Chain, DiffusionPolicy
from trudi_rsl.diffusion.schedule import first_steps, merged_sizes
from trudi_rsl.modules.actor_critic import ActorCritic, CriticOptions
from trudi_rsl.modules.chain_options import WHOLE_CHAIN, ChainOptions
from trudi_rsl.modules.inference_policy import ChainInferencePolicy, Squash
from trudi_rsl.modules.observations import ObservationEncoder


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
