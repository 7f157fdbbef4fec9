# SPDX-License-Identifier: BSD-3-Clause
"""Checks of a rollout before anything is learned from it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trudi_rsl.acceleration import Precision, network_precision
from trudi_rsl.algorithms.trust_region import from_trace, path_kl, step_sizes_of
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.policy import Decision, Policy
from trudi_rsl.storage import RolloutBuffer

REPLAY_TOLERANCE = 1e-5
"""Largest path KL, in nats, that a policy may have to itself."""


def raise_if_not_finite(storage: RolloutBuffer) -> None:
    """Raise if the rollout holds NaN or infinity; one read from the device.

    Raises:
        NonFiniteError: Naming the first step, the environment and the quantity, which may be the policy's own.
    """
    steps = storage.num_steps
    # first what is ours: an observation that was finite, yet led to an action that is not
    seen = torch.isfinite(storage.actor_obs).all(-1)
    bad_actions = seen & ~(torch.isfinite(storage.actions).all(-1) & torch.isfinite(storage.log_probs))
    bad_obs = ~(torch.isfinite(storage.actor_obs).all(-1) & torch.isfinite(storage.critic_obs).all(-1))
    bad_final = torch.zeros_like(storage.has_final)
    if storage.final_actor_obs is not None and storage.final_critic_obs is not None:
        finite = torch.isfinite(storage.final_actor_obs).all(-1) & torch.isfinite(storage.final_critic_obs).all(-1)
        bad_final = (storage.terminated | storage.truncated) & storage.has_final & ~finite
    # in order of time: the observations of step t, the policy's action, the reward, the final observation
    by_time = torch.stack([bad_obs[:steps], bad_actions[:steps], ~torch.isfinite(storage.rewards), bad_final], dim=1)
    by_time = torch.cat([by_time.flatten(0, 1), bad_obs[steps:], bad_actions[steps:]])
    if not by_time.any():
        return
    row, env = (int(i) for i in by_time.nonzero()[0])
    quantity = ("observation", "action", "reward", "final observation")[row % 4]
    if quantity == "action":
        raise NonFiniteError(
            f"The policy gave a non-finite action in environment {env} at step {row // 4} of this rollout, for finite "
            "observations: its weights are damaged. Resume from an earlier checkpoint with a lower learning_rate."
        )
    raise NonFiniteError(
        f"The simulator gave a non-finite {quantity} in environment {env} at step {row // 4} of this rollout "
        f"({int(by_time.any(0).sum())} environments affected). Nothing was learned from the rollout. Look for a "
        "division by zero or an exploding contact in the task; the last checkpoint is sound."
    )


@torch.no_grad()
def raise_if_replay_differs(
    policy: Policy,
    obs: Tensor,
    sample: Callable[[Tensor, Tensor], Decision],
    precision: Precision,
) -> None:
    """Raise if a policy's KL to itself is not 0, as it is when its decisions are replayed in other batch shapes.

    For the measurement, the policy's last layer is one of order 1. Before the first update its own is near zero, and
    any product would pass.

    Args:
        policy: The actor; its weights are the same afterwards.
        obs: Normalised observations ``[B, O]``.
        sample: What collects rollouts with it, compiled or not.
        precision: Of its matrix products.

    Raises:
        RuntimeError: Saying what the usual cause is.
    """
    weight = policy.output_layer.weight
    own = weight.clone()
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(weight.shape, generator=generator) / weight.shape[1] ** 0.5
    noise = torch.randn(policy.num_draws, len(obs), policy.num_actions, generator=generator)
    try:
        weight.copy_(probe)
        decision = sample(obs, noise.to(obs))
        with network_precision(precision, obs.device.type):
            old = from_trace(decision.trace, step_sizes_of(policy))
            largest = path_kl(policy, obs, old).abs().max().item()
    finally:
        weight.copy_(own)
    # written so that NaN fails
    if not largest <= REPLAY_TOLERANCE:
        remedy = (
            "Products are not of the precision they were set to: after the simulator has started, call "
            "torch.set_float32_matmul_precision('highest'), or set algorithm.compile=off."
            if precision == "fp32"
            else "Use fp32."
        )
        raise RuntimeError(
            f"Replaying decisions changes the policy by {largest:.1e} nats (at most {REPLAY_TOLERANCE} is "
            f"right) with algorithm.precision={precision}, so the trust region would act on rounding. {remedy}"
        )
