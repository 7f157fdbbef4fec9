# SPDX-License-Identifier: BSD-3-Clause
"""Soft TD(lambda) targets of a stored rollout, with the true final observations where the host gives them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trudi_rsl.modules import ActorCritic
from trudi_rsl.storage import RolloutBuffer, td_lambda_targets


@torch.no_grad()
def compute_targets(model: ActorCritic[Any], storage: RolloutBuffer, alpha: Tensor, gamma: float, lam: float) -> None:
    """Fill ``targets``, ``next_features`` and the validity masks of ``storage``.

    The decision at the next observation is both the next action and the bootstrap action, so that only final
    observations need decisions of their own.

    Args:
        model: Actor and critic that collected the rollout.
        storage: A full rollout whose last row of decisions is the bootstrap.
        alpha: Temperature, scalar.
        gamma: Discount per step.
        lam: TD(lambda) mixing.
    """
    next_values = torch.empty_like(storage.rewards)
    next_log_probs = storage.log_probs[1:].clone()
    # row by row: the critic's activations of a whole rollout would dwarf the rollout itself
    for t in range(storage.num_steps):
        next_values[t], storage.next_features[t] = model.critic.value_and_features(
            storage.critic_obs[t + 1], storage.actions[t + 1]
        )
    ended = storage.terminated | storage.truncated
    known = ~ended | storage.has_final
    if storage.final_actor_obs is not None and storage.final_critic_obs is not None:
        rows = (ended & storage.has_final).nonzero(as_tuple=True)
        actor_obs = model.actor_obs.normalize(storage.final_actor_obs[rows])
        critic_obs = model.critic_obs.normalize(storage.final_critic_obs[rows]) if model.asymmetric else actor_obs
        decision = model.decide(actor_obs)
        next_values[rows], storage.next_features[rows] = model.critic.value_and_features(critic_obs, decision.action)
        next_log_probs[rows] = decision.log_prob
    # r~_t = r_t - gamma alpha b_t lp(s'), with b_t = 0 at a true termination
    soft_rewards = storage.rewards - gamma * alpha * next_log_probs.masked_fill(storage.terminated, 0.0)
    target_valid = known | storage.terminated
    storage.target_valid.copy_(target_valid)
    storage.features_valid.copy_(known)
    storage.targets.copy_(
        td_lambda_targets(soft_rewards, next_values, storage.terminated, storage.truncated, target_valid, gamma, lam)
    )
