# SPDX-License-Identifier: BSD-3-Clause
"""Soft TD(lambda) targets of a rollout, and the critic's value range."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trudi_rsl.algorithms.symmetry import Symmetry
from trudi_rsl.distributed import all_gather
from trudi_rsl.networks import QCritic
from trudi_rsl.policies import ActorCritic
from trudi_rsl.storage import RolloutBuffer, td_lambda_targets

CROWDED_SHARE = 0.01
MARGIN = 0.2
"""An automatic range is widened while more than ``CROWDED_SHARE`` of the targets lie in its outer ``MARGIN``.

HL-Gauss biases values near the ends inwards, so waiting for clipped targets would be too late.
"""


def initial_range(rewards: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return a range that contains the return of earning the first rollout's extreme rewards forever.

    ``[min(q01, 0), max(q99, 0)] / (1 - gamma)``, the longer side at least 1 and the shorter one at least half as long.
    The quantiles are those of all ranks' rewards ``[T, E]``.
    """
    rewards = all_gather(rewards).flatten()[: 2**24]
    low, high = torch.quantile(rewards, torch.tensor([0.01, 0.99], dtype=rewards.dtype, device=rewards.device))
    low, high = low.clamp(max=0.0) / (1.0 - gamma), high.clamp(min=0.0) / (1.0 - gamma)
    half = 0.5 * torch.maximum(-low, high).clamp(min=1.0)
    return torch.minimum(low, -half), torch.maximum(high, half)


def widened_range(vmin: Tensor, vmax: Tensor, targets: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the range, with each side that is crowded by usable (``valid``) targets ``[T, E]`` moved by its width."""
    width = vmax - vmin
    low, high = targets < vmin + MARGIN * width, targets > vmax - MARGIN * width
    counts = torch.stack([valid.sum(), (low & valid).sum(), (high & valid).sum()])
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
    below, above = counts[1:] / counts[0].clamp(min=1)
    return (vmin - width).where(below > CROWDED_SHARE, vmin), (vmax + width).where(above > CROWDED_SHARE, vmax)


def set_initial_range(critic: QCritic, rewards: Tensor, gamma: float) -> None:
    """Set the critic's value range to :func:`initial_range` of the first rollout's rewards ``[T, E]``."""
    hl_gauss = critic.hl_gauss
    hl_gauss.set_range(*initial_range(rewards, gamma))
    critic.zero_code.data.copy_(hl_gauss.encode(torch.zeros_like(hl_gauss.vmin)))


def widen_to_targets(critic: QCritic, storage: RolloutBuffer) -> None:
    """Widen the critic's value range to :func:`widened_range` of a rollout's targets."""
    hl_gauss = critic.hl_gauss
    widen(critic, *widened_range(hl_gauss.vmin, hl_gauss.vmax, storage.targets, storage.target_valid))


def widen(critic: QCritic, low: Tensor, high: Tensor) -> None:
    """Widen the critic's value range, unless ``[low, high]`` lies inside it."""
    vmin, vmax = critic.hl_gauss.vmin, critic.hl_gauss.vmax
    # widening to the same range would leave a rounding error
    if (low < vmin) | (high > vmax):
        critic.widen(torch.minimum(low, vmin), torch.maximum(high, vmax))


@torch.no_grad()
def compute_targets(
    model: ActorCritic[Any],
    storage: RolloutBuffer,
    alpha: Tensor,
    gamma: float,
    lam: float,
    symmetry: Symmetry | None = None,
) -> None:
    """Fill ``targets``, ``next_features`` and the validity masks of a full rollout that ``model`` collected.

    The decision at the next observation is both the next action and the bootstrap action, so only final observations
    need additional decisions. A symmetry computes the features of its images.
    """
    rows, last_actions = None, None
    next_values = torch.empty_like(storage.rewards)
    next_log_probs = storage.log_probs[1:].clone()
    # row by row: the critic's activations of a whole rollout would need much more memory than the rollout
    for t in range(storage.num_steps):
        latents = model.critic_obs.encode(storage.critic_obs[t + 1], storage.images_at(t + 1))
        next_values[t], storage.next_features[t] = model.critic.value_and_features(latents, storage.actions[t + 1])
    ended = storage.terminated | storage.truncated
    known = ~ended | storage.has_final
    if storage.final_actor_obs is not None and storage.final_critic_obs is not None:
        rows = (ended & storage.has_final).nonzero(as_tuple=True)
        images = {name: values[rows] for name, values in storage.final_images.items()}
        actor_obs = model.actor_obs.encode(model.actor_obs.normalize(storage.final_actor_obs[rows]), images)
        critic_obs = actor_obs
        if model.asymmetric:
            critic_obs = model.critic_obs.encode(model.critic_obs.normalize(storage.final_critic_obs[rows]), images)
        decision = model.decide(actor_obs)
        last_actions = decision.action
        next_values[rows], storage.next_features[rows] = model.critic.value_and_features(critic_obs, decision.action)
        next_log_probs[rows] = decision.log_prob
    if symmetry is not None:
        symmetry.compute_features(storage, rows, last_actions)
    # r~_t = r_t - gamma alpha b_t lp(s'), with b_t = 0 at a true termination
    soft_rewards = storage.rewards - gamma * alpha * next_log_probs.masked_fill(storage.terminated, 0.0)
    storage.features_valid.copy_(known)
    target_valid = storage.target_valid.copy_(known | storage.terminated)
    storage.targets.copy_(
        td_lambda_targets(soft_rewards, next_values, storage.terminated, storage.truncated, target_valid, gamma, lam)
    )
