# SPDX-License-Identifier: BSD-3-Clause
"""Path KL between the policy and the one that collected the rollout (paper Eq. 135)."""

from __future__ import annotations

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
