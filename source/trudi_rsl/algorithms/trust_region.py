# SPDX-License-Identifier: BSD-3-Clause
"""Path KL between the policy and the one that collected the rollout (paper Eq. 135)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from trudi_rsl.diffusion import Chain, DiffusionPolicy
from trudi_rsl.diffusion.chain import gaussian_kl, log_ratio, mean_only_kl


def path_kl(
    policy: DiffusionPolicy,
    obs: Tensor,
    latents: Tensor,
    old_means: Tensor,
    old_steps: Tensor,
    estimator: str = "closed_form",
) -> Tensor:
    """Return ``c(s)`` along chains drawn from the old policy, one network call over all denoising steps.

    Args:
        policy: Current policy; gradients reach its means and friction.
        obs: Normalised observations ``[B, O]``.
        latents: Old chains ``[N+1, B, A]``.
        old_means: Their denoising means ``[N, B, A]``.
        old_steps: Step sizes of the old policy ``[N, A]``.
        estimator: ``closed_form``, ``mean_only`` or ``log_ratio``.

    Returns:
        ``[B]`` in nats.

    Raises:
        ValueError: If the estimator is unknown.
    """
    means = policy.means(obs, latents[:-1])
    if estimator == "closed_form":
        return gaussian_kl(old_means, old_steps, means, policy.step_sizes())
    if estimator == "mean_only":
        return mean_only_kl(old_means, old_steps, means)
    if estimator == "log_ratio":
        return log_ratio(latents, old_means, old_steps, means, policy.step_sizes())
    raise ValueError(f"Unknown path KL estimator {estimator!r}.")


def fresh_path_kl(
    policy: DiffusionPolicy, old_policy: DiffusionPolicy, obs: Tensor, num_chains: int, estimator: str = "closed_form"
) -> Tensor:
    """Return ``c(s)`` averaged over ``num_chains`` chains resampled from the old policy, ``[B]`` nats."""
    batch = obs.shape[0]
    repeated = obs.repeat(num_chains, 1)
    with torch.no_grad():
        chain = old_policy.sample(repeated, old_policy.draw_noise(num_chains * batch))
        old_steps = old_policy.step_sizes()
    kl = path_kl(policy, repeated, chain.latents, chain.means, old_steps, estimator)
    return kl.view(num_chains, batch).mean(0)


def reverse_path_kl(policy: DiffusionPolicy, old_policy: DiffusionPolicy, obs: Tensor, chain: Chain) -> Tensor:
    """Return ``KL(new || old)`` along the policy's own chain, ``[B]`` nats.

    Gradients also flow through the latents, of which the new policy is the author.
    """
    old_means = old_policy.means(obs, chain.latents[:-1])
    return gaussian_kl(chain.means, policy.step_sizes(), old_means, old_policy.step_sizes())


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
    return path_kl(probe, obs, chain.latents, chain.means, probe.step_sizes()).abs().max()
