# SPDX-License-Identifier: BSD-3-Clause
"""The actor-critic of TruDi: its actor is a diffusion policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.diffusion import Chain, DiffusionPolicy
from trudi_rsl.modules.actor_critic import ActorCritic, CriticOptions
from trudi_rsl.modules.deployable_policy import describe_chain
from trudi_rsl.modules.inference_policy import ChainInferencePolicy, Squash, fixed_start
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

    def deterministic_latent(self, actor_obs: Tensor, score_scale: float = 1.0, start: Tensor | None = None) -> Tensor:
        """Return where the ODE leads, pre-squash actions ``[B, A]``; see :class:`ActorCritic`."""
        _require_positive(score_scale)
        x0 = actor_obs.new_zeros(len(actor_obs), self.num_actions) if start is None else start
        return self.actor.solve_ode(actor_obs, x0, score_scale)

    def _draw_start(self, actor_obs: Tensor) -> Tensor:
        return self.actor.draw_start(len(actor_obs))

    def actor_metrics(self) -> dict[str, Tensor]:
        """Return the mean friction."""
        return {"friction": self.actor.friction().detach().mean()}

    def deployable(self, score_scale: float = 1.0, seed: int | None = None) -> ChainInferencePolicy:
        """Freeze the current policy: the ODE from a fixed start; see :class:`ActorCritic`."""
        _require_positive(score_scale)
        return frozen_chain(self.actor_obs, self.actor, score_scale, seed, self.squash)

    def describe(self, score_scale: float = 1.0, seed: int | None = None) -> dict[str, Any]:
        """Return metadata of the policy: its action bounds and its chain."""
        return super().describe() | describe_chain(self.actor.num_steps, score_scale, seed)


def frozen_chain(
    encoder: ObservationEncoder, actor: DiffusionPolicy, score_scale: float, seed: int | None, squash: Squash | None
) -> ChainInferencePolicy:
    """Return a diffusion policy's ODE from a fixed start, frozen.

    Args:
        encoder: Normaliser of the observation.
        actor: The policy.
        score_scale: Score scale ``c`` of the ODE.
        seed: Seed of the fixed start; None is zeros.
        squash: Bounds of the actions; None where the chain's end is the action.
    """
    with torch.inference_mode(False), torch.no_grad():
        steps = actor.step_sizes()
        return ChainInferencePolicy(
            encoder,
            actor.score_network,
            actor.score_network.time_features(actor.num_steps),
            # x + e ((2c-1) p(x) + c u) = (1 - (2c-1) e / s0^2) x + c e u
            contraction=1.0 - (2.0 * score_scale - 1.0) * steps / actor.prior_std**2,
            gain=score_scale * steps,
            start=fixed_start(actor.num_actions, actor.prior_std, seed).to(steps),
            start_std=actor.prior_std,
            squash=squash,
        )


def _require_positive(score_scale: float) -> None:
    if not score_scale > 0.0:
        raise ValueError(f"score_scale must be above 0, got {score_scale}.")
