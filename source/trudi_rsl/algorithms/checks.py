# SPDX-License-Identifier: BSD-3-Clause
"""Checks of a rollout before anything is learned from it."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor

from trudi_rsl.algorithms.trust_region import OldChains, path_kl
from trudi_rsl.diffusion import DiffusionPolicy
from trudi_rsl.errors import NonFiniteError
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


def raise_if_replay_differs(policy: DiffusionPolicy, obs: Tensor) -> None:
    """Raise if replaying chains of a policy does not reproduce them; one read from the device.

    Raises:
        RuntimeError: Saying what the usual cause is.
    """
    largest = replay_kl(policy, obs)
    # written so that NaN fails
    if not largest <= REPLAY_TOLERANCE:
        raise RuntimeError(
            f"Replaying denoising chains changes the policy by {largest:.1e} nats (at most {REPLAY_TOLERANCE} is "
            "right), so the trust region would act on rounding. The usual cause is matrix products of reduced "
            "precision: call torch.set_float32_matmul_precision('highest')."
        )


@torch.no_grad()
def replay_kl(policy: DiffusionPolicy, obs: Tensor) -> Tensor:
    """Return the largest path KL of a policy to itself: matrix products of other batch shapes must not change means.

    Measured on a copy whose last layer is of order 1. Before the first update the policy's own is near zero, and any
    product would pass.

    Args:
        policy: The policy, whose hidden layers and device are probed.
        obs: Normalised observations ``[B, O]``.

    Returns:
        Scalar, in nats; 0 up to rounding.
    """
    probe = copy.deepcopy(policy)
    layer = probe.score_network.output_layer
    generator = torch.Generator().manual_seed(0)
    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) / layer.in_features**0.5)
    noise = torch.randn(probe.num_steps + 1, obs.shape[0], probe.num_actions, generator=generator).to(obs)
    chain = probe.sample(obs, noise)
    return path_kl(probe, obs, OldChains(chain.latents, chain.means, probe.step_sizes())).abs().max()


def warn_of_clipped_targets(share: float, value_range: object) -> None:
    """Warn that the configured value range is too narrow."""
    warnings.warn(
        f"{100 * share:.1f} % of the targets lie outside the critic's value range {value_range} and are clipped. "
        "Widen algorithm.value_range, or set it to auto.",
        stacklevel=2,
    )
