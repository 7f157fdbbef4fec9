# SPDX-License-Identifier: BSD-3-Clause
"""Checks of a rollout before anything is learned from it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trudi_rsl.acceleration import Precision, network_precision
from trudi_rsl.algorithms.trust_region import from_trace, path_kl, step_sizes_of
from trudi_rsl.policy import Decision, Policy

REPLAY_TOLERANCE = 1e-5
"""Largest path KL, in nats, that a policy may have to itself."""


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
