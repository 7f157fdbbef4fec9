# SPDX-License-Identifier: BSD-3-Clause
"""Soft TD(lambda) targets of a rollout, and the critic's value range."""

from __future__ import annotations

from collections.abc import Sequence
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

FINAL_SHARE = 8
"""On a GPU, final observations of one in so many transitions at most are evaluated: counting would force a sync."""


def initial_range(rewards: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Return a range that contains the return of earning the first rollout's extreme rewards forever.

    ``[min(q01, 0), max(q99, 0)] / (1 - gamma)``, the longer side at least 1 and the shorter one at least half as long.
    The quantiles are those of all ranks' rewards ``[T, E]``.
    """
    rewards = all_gather(rewards).flatten()[: 2**24]
    # made on the device, where a tensor of the two numbers would be uploaded
    low, high = torch.quantile(rewards, torch.linspace(0.01, 0.99, 2, dtype=rewards.dtype, device=rewards.device))
    low, high = low.clamp(max=0.0) / (1.0 - gamma), high.clamp(min=0.0) / (1.0 - gamma)
    half = 0.5 * torch.maximum(-low, high).clamp(min=1.0)
    return torch.minimum(low, -half), torch.maximum(high, half)


def choose_range(critic: QCritic, rewards: Tensor, gamma: float, veto: Tensor) -> None:
    """Set a critic's range to the :func:`initial_range` of a rollout, unless there is a ``veto``, bool scalar."""
    gauss = critic.hl_gauss
    low, high = initial_range(rewards, gamma)
    gauss.set_range(gauss.vmin.where(veto, low), gauss.vmax.where(veto, high))
    critic.zero_code.data.copy_(gauss.encode(torch.zeros_like(gauss.vmin)))


def widened_range(vmin: Tensor, vmax: Tensor, targets: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the range, with each side that is crowded by usable (``valid``) targets ``[T, E]`` moved by its width."""
    width = vmax - vmin
    low, high = targets < vmin + MARGIN * width, targets > vmax - MARGIN * width
    counts = torch.stack([valid.sum(), (low & valid).sum(), (high & valid).sum()])
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
    below, above = counts[1:] / counts[0].clamp(min=1)
    return (vmin - width).where(below > CROWDED_SHARE, vmin), (vmax + width).where(above > CROWDED_SHARE, vmax)


def widen_to_targets(critic: QCritic, storage: RolloutBuffer, veto: Tensor) -> None:
    """Widen a critic's range to the :func:`widened_range` of a rollout's targets, unless there is a ``veto``."""
    gauss = critic.hl_gauss
    critic.widen(*widened_range(gauss.vmin, gauss.vmax, storage.targets, storage.target_valid & ~veto))


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

    On a GPU, final observations of at most one in :data:`FINAL_SHARE` transitions are evaluated, truncations first;
    others count as unknown. Episodes would have to be shorter than that many steps on average.
    """
    next_values = torch.empty_like(storage.rewards)
    next_log_probs = storage.log_probs[1:].clone()
    # row by row: the critic's activations of a whole rollout would need much more memory than the rollout
    for t in range(storage.num_steps):
        latents = model.critic_obs.encode(storage.critic_obs[t + 1], storage.images_at(t + 1))
        next_values[t], storage.next_features[t] = model.critic.value_and_features(latents, storage.actions[t + 1])
    if symmetry is not None:
        symmetry.compute_features(storage)
    ended = storage.terminated | storage.truncated
    known = ~ended
    if storage.final_actor_obs is not None and storage.final_critic_obs is not None:
        needed = ended & storage.has_final
        known = known | _evaluate_final(model, storage, needed, next_values, next_log_probs, symmetry)
    # r~_t = r_t - gamma alpha b_t lp(s'), with b_t = 0 at a true termination
    soft_rewards = storage.rewards - gamma * alpha * next_log_probs.masked_fill(storage.terminated, 0.0)
    storage.features_valid.copy_(known)
    target_valid = storage.target_valid.copy_(known | storage.terminated)
    storage.targets.copy_(
        td_lambda_targets(soft_rewards, next_values, storage.terminated, storage.truncated, target_valid, gamma, lam)
    )


def _evaluate_final(
    model: ActorCritic[Any],
    storage: RolloutBuffer,
    needed: Tensor,
    next_values: Tensor,
    next_log_probs: Tensor,
    symmetry: Symmetry | None,
) -> Tensor:
    """Evaluate the final observations where they are ``needed``, and return where that was done, bool ``[T, E]``."""
    assert storage.final_actor_obs is not None and storage.final_critic_obs is not None
    tensors = storage.final_actor_obs, storage.final_critic_obs, next_values, storage.next_features, next_log_probs
    final_obs, final_critic_obs, values, features, log_probs = (x.flatten(0, 1) for x in tensors)
    is_needed, done = needed.flatten(), torch.zeros_like(needed).flatten()
    for rows in final_rows(needed, storage.truncated):
        images = {name: values.flatten(0, 1)[rows] for name, values in storage.final_images.items()}
        actor_obs = critic_obs = model.actor_obs.encode_final(final_obs[rows], images)
        if model.asymmetric:
            critic_obs = model.critic_obs.encode_final(final_critic_obs[rows], images)
        decision = model.decide(actor_obs)
        if symmetry is not None:
            symmetry.compute_final_features(rows, is_needed[rows], decision.action)
        found = (*model.critic.value_and_features(critic_obs, decision.action), decision.log_prob)
        for target, new in zip((values, features, log_probs), found, strict=True):
            kept = is_needed[rows].view(-1, *[1] * (new.ndim - 1))
            target[rows] = torch.where(kept, new.to(target.dtype), target[rows])
        done.index_fill_(0, rows, True)
    return needed & done.view_as(needed)


def final_rows(needed: Tensor, truncated: Tensor, share: int | None = None) -> Sequence[Tensor]:
    """Return rows ``t E + e`` of a rollout that contain the ``needed`` ones, bool ``[T, E]``, in parts.

    Without a ``share``, which is the default on CPUs, exactly these; otherwise ``max(T / share, 2)`` parts of ``E``
    rows, the ``truncated`` ones first.
    """
    if share is None and needed.device.type == "cpu":
        return [needed.flatten().nonzero().flatten()]
    num_steps, num_envs = needed.shape
    urgency = needed.int() + (needed & truncated).int()
    order = torch.argsort(urgency.flatten(), descending=True, stable=True)
    num_parts = min(num_steps, max(num_steps // (share or FINAL_SHARE), 2))
    return order[: num_parts * num_envs].split(num_envs)
