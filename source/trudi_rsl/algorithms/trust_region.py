# SPDX-License-Identifier: BSD-3-Clause
"""Path KL between the policy and the one that collected the rollout (paper Eq. 135)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trudi_rsl.diffusion import Chain, DiffusionPolicy
from trudi_rsl.diffusion.chain import gaussian_kl, log_ratio, mean_only_kl


class OldChains(NamedTuple):
    """Chains drawn from the policy that collected the rollout, ``K`` for each of ``B`` states, constant.

    Column ``k * B + b`` is chain ``k`` of state ``b``.
    """

    latents: Tensor
    """``x_0 .. x_N``, ``[N+1, K*B, A]``."""
    means: Tensor
    """Their denoising means ``[N, K*B, A]``."""
    steps: Tensor
    """Step sizes of that policy, ``[N, A]``."""

    def at(self, rows: Tensor, num_states: int) -> OldChains:
        """Return the chains of some of the states.

        Args:
            rows: Indices of the states ``[b]``.
            num_states: Number ``B`` of states that there are chains of.
        """

        def select(x: Tensor) -> Tensor:
            # K is written out, as -1 is ambiguous where there are no states
            return x.unflatten(1, (x.shape[1] // num_states, num_states))[:, :, rows].flatten(1, 2)

        return OldChains(select(self.latents), select(self.means), self.steps)


def path_kl(policy: DiffusionPolicy, obs: Tensor, old: OldChains, estimator: str = "closed_form") -> Tensor:
    """Return ``c(s)`` along chains drawn from the old policy, one network call over all denoising steps.

    Args:
        policy: Current policy; gradients reach its means and friction.
        obs: Normalised observations ``[B, O]``.
        old: Chains of these states; where there are several per state, their mean is taken.
        estimator: ``closed_form``, ``mean_only`` or ``log_ratio``.

    Returns:
        ``[B]`` in nats.

    Raises:
        ValueError: If the estimator is unknown.
    """
    num_chains = old.latents.shape[1] // max(obs.shape[0], 1)
    several = num_chains > 1
    means = policy.means(obs.repeat(num_chains, 1) if several else obs, old.latents[:-1])
    kl = chain_kl(estimator, old.latents[1:], old.means, old.steps, means, policy.step_sizes())
    return kl.view(num_chains, obs.shape[0]).mean(0) if several else kl


def chain_kl(
    estimator: str, reached: Tensor, old_means: Tensor, old_steps: Tensor, means: Tensor, steps: Tensor
) -> Tensor:
    """Return the KL along old chains, summed over any ``M`` of their steps.

    Args:
        estimator: ``closed_form``, ``mean_only`` or ``log_ratio``.
        reached: Latents ``x_{k+1}`` that the steps led to, ``[M, B, A]``.
        old_means: The old policy's denoising means ``[M, B, A]``.
        old_steps: Its step sizes ``[M, A]``.
        means: The current policy's means from the same latents ``[M, B, A]``.
        steps: Its step sizes ``[M, A]``.

    Returns:
        ``[B]`` in nats.

    Raises:
        ValueError: If the estimator is unknown.
    """
    if estimator == "closed_form":
        return gaussian_kl(old_means, old_steps, means, steps)
    if estimator == "mean_only":
        return mean_only_kl(old_means, old_steps, means)
    if estimator == "log_ratio":
        return log_ratio(reached, old_means, old_steps, means, steps)
    raise ValueError(f"Unknown path KL estimator {estimator!r}.")


@torch.no_grad()
def fresh_chains(old_policy: DiffusionPolicy, obs: Tensor, num_chains: int) -> OldChains:
    """Return ``num_chains`` chains resampled from the old policy at each of the observations ``[B, O]``."""
    repeated = obs.repeat(num_chains, 1)
    chain = old_policy.sample(repeated, old_policy.draw_noise(len(repeated)))
    return OldChains(chain.latents, chain.means, old_policy.step_sizes())


def reverse_path_kl(policy: DiffusionPolicy, old_policy: DiffusionPolicy, obs: Tensor, chain: Chain) -> Tensor:
    """Return ``KL(new || old)`` along the policy's own chain, ``[B]`` nats.

    Gradients also flow through the latents, of which the new policy is the author.
    """
    old_means = old_policy.means(obs, chain.latents[:-1])
    return gaussian_kl(chain.means, policy.step_sizes(), old_means, old_policy.step_sizes())
