# SPDX-License-Identifier: BSD-3-Clause
"""The trust region's KL between the policy and the one that collected the rollout, for each kind of policy.

For diffusion it is the path KL (paper Eq. 135), for a Gaussian the KL between the two pre-squash Gaussians of a state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trudi_rsl.diffusion.chain import gaussian_kl, log_ratio, mean_only_kl
from trudi_rsl.policies.base import Policy
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.policies.gaussian import Gaussian, GaussianPolicy, kl_divergence


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


class OldGaussians(NamedTuple):
    """What a Gaussian policy that collected the rollout said of ``B`` states, constant."""

    mean: Tensor
    """Pre-squash means ``[B, A]``."""
    log_std: Tensor
    """Logarithms of the standard deviations ``[B, A]``."""

    def at(self, rows: Tensor, num_states: int) -> OldGaussians:
        """Return the Gaussians of the states ``rows`` ``[b]`` among ``num_states``."""
        return OldGaussians(self.mean[rows], self.log_std[rows])


OldPolicy = OldChains | OldGaussians
"""What the trust region reads of the policy that collected the rollout."""


def step_sizes_of(policy: Policy) -> Tensor | None:
    """Return the step sizes ``[N, A]`` of a diffusion policy, None for a Gaussian, which has no denoising steps."""
    return policy.step_sizes() if isinstance(policy, DiffusionPolicy) else None


def from_trace(trace: Tensor, steps: Tensor | None) -> OldPolicy:
    """Return what the traces of decisions tell of the policy that took them.

    Args:
        trace: Of one decision per state, ``[R, B, A]``.
        steps: What :func:`step_sizes_of` returned for that policy.
    """
    if steps is None:
        return OldGaussians(*trace)
    num_steps = len(steps)
    return OldChains(trace[: num_steps + 1], trace[num_steps + 1 :], steps)


def path_kl(policy: Policy, obs: Tensor, old: OldPolicy, estimator: str = "closed_form") -> Tensor:
    """Return the trust region's ``c(s) = KL(old || new)``; for diffusion, along chains drawn from the old policy.

    Args:
        policy: Current policy; gradients reach all of its parameters.
        obs: Normalised observations ``[B, O]``.
        old: Of these states; where there are several chains per state, their mean is taken.
        estimator: ``closed_form``, and for diffusion ``mean_only`` or ``log_ratio``.

    Returns:
        ``[B]`` in nats.

    Raises:
        ValueError: If the estimator is unknown.
        TypeError: If the two policies are not of one kind.
    """
    if isinstance(policy, DiffusionPolicy) and isinstance(old, OldChains):
        return _diffusion_kl(policy, obs, old, estimator)
    if isinstance(policy, GaussianPolicy) and isinstance(old, OldGaussians):
        return kl_divergence(Gaussian(old.mean, old.log_std), policy(obs))
    raise TypeError(f"No KL between a {type(policy).__name__} and {type(old).__name__}.")


def _diffusion_kl(policy: DiffusionPolicy, obs: Tensor, old: OldChains, estimator: str) -> Tensor:
    """Return the path KL with one network call over all denoising steps."""
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
def fresh_chains(old_policy: DiffusionPolicy, obs: Tensor, noise: Tensor) -> OldChains:
    """Return ``K`` chains drawn anew from the old policy at each of ``B`` observations.

    Args:
        old_policy: The policy that collected the rollout.
        obs: Normalised observations ``[B, O]``.
        noise: Standard normal ``[N+1, K*B, A]``.
    """
    chain = old_policy.sample(obs.repeat(noise.shape[1] // len(obs), 1), noise)
    return OldChains(chain.latents, chain.means, old_policy.step_sizes())


def reverse_path_kl(policy: Policy, old_policy: Policy, obs: Tensor, trace: Tensor) -> Tensor:
    """Return ``KL(new || old)`` ``[B]`` nats, for diffusion along the policy's own chains.

    Args:
        policy: Current policy; gradients also flow through the trace, of which it is the author.
        old_policy: Policy that collected the rollout.
        obs: Normalised observations ``[B, O]``.
        trace: Of the current policy's decisions there, ``[R, B, A]``.
    """
    return path_kl(old_policy, obs, from_trace(trace, step_sizes_of(policy)))
