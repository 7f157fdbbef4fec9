# SPDX-License-Identifier: BSD-3-Clause
"""The trust region's KL between the policy that collected the rollout and the current one.

For diffusion it is the path KL (paper Eq. 135), for a Gaussian the KL between the two pre-squash Gaussians of a state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from trudi_rsl.acceleration import network_precision
from trudi_rsl.diffusion.chain import gaussian_kl, mean_only_kl, step_log_ratios
from trudi_rsl.diffusion.signed_permutation import SignedPermutations
from trudi_rsl.errors import setting
from trudi_rsl.policies.base import Decision, Policy
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.policies.gaussian import Gaussian, GaussianPolicy, kl_divergence
from trudi_rsl.settings import Precision

logger = logging.getLogger(__name__)


class OldChains(NamedTuple):
    """Chains drawn from the policy that collected the rollout, ``K`` for each of ``B`` states, constant.

    Column ``k * B + b`` is chain ``k`` of state ``b``.
    """

    latents: Tensor
    """``x_0 .. x_N``, ``[N+1, K*B, A]``."""
    means: Tensor
    """Their denoising means ``[N, K*B, A]``."""
    steps: Tensor
    """Step sizes of that policy, ``[N, A]``; of each chain, ``[N, K*B, A]``, where some are mirrored."""

    def at(self, rows: Tensor, num_states: int) -> OldChains:
        """Return the chains of the states ``rows`` ``[b]`` among ``num_states``."""

        def select(x: Tensor) -> Tensor:
            # K is written out, as -1 is ambiguous where there are no states
            return x.unflatten(1, (x.shape[1] // num_states, num_states))[:, :, rows].flatten(1, 2)

        return OldChains(
            select(self.latents), select(self.means), self.steps if self.steps.ndim == 2 else select(self.steps)
        )

    def mirrored(self, mirrors: SignedPermutations, num_states: int) -> OldChains:
        """Return the images of the chains in ``num_states`` states, of which state ``g * B + b`` is image ``g`` of b.

        The path KL of a mirrored policy along them is that of the policy along the chains.
        """

        def each(image: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
            return image(x.unflatten(1, (-1, num_states))).flatten(1, 2)

        steps = self.steps[:, None].expand(-1, self.latents.shape[1], -1)
        return OldChains(
            each(mirrors.mirror, self.latents), each(mirrors.mirror, self.means), each(mirrors.permute, steps)
        )


class OldGaussians(NamedTuple):
    """Distributions of the Gaussian policy that collected the rollout in ``B`` states, constant."""

    mean: Tensor
    """Pre-squash means ``[B, A]``."""
    log_std: Tensor
    """Logarithms of the standard deviations ``[B, A]``."""

    def at(self, rows: Tensor, num_states: int) -> OldGaussians:
        """Return the Gaussians of the states ``rows`` ``[b]`` among ``num_states``."""
        return OldGaussians(self.mean[rows], self.log_std[rows])

    def mirrored(self, mirrors: SignedPermutations, num_states: int) -> OldGaussians:
        """Return the images of the Gaussians in ``num_states`` states, in the order of :meth:`OldChains.mirrored`."""
        assert len(self.mean) == num_states
        return OldGaussians(mirrors.mirror(self.mean), mirrors.permute(self.log_std))


OldPolicy = OldChains | OldGaussians
"""Data of the policy that collected the rollout, from which the KL is computed."""


class TrustRegion(NamedTuple):
    """The constraint on the actor's step."""

    kl_bound: float
    """``eps`` in nats."""
    estimator: str
    """``reverse``, or an estimator of :func:`~trudi_rsl.algorithms.trust_region.path_kl`."""
    old_policy: Policy
    """The actor that collected the rollout; read by the reverse KL only."""


def step_sizes_of(policy: Policy) -> Tensor | None:
    """Return the step sizes ``[N, A]`` of a diffusion policy, None for a Gaussian, which has no denoising steps."""
    return policy.step_sizes() if isinstance(policy, DiffusionPolicy) else None


def from_trace(policy: Policy, trace: Tensor, steps: Tensor | None) -> OldPolicy:
    """Return the old policy's chains or Gaussians from its traces ``[R, B, A]`` and :func:`step_sizes_of` it.

    ``policy`` is any of its architecture and form of traces; no weight of it is read.
    """
    if steps is None:
        return OldGaussians(*trace)
    assert isinstance(policy, DiffusionPolicy)
    return OldChains(*policy.rebuild(trace, steps), steps)


def path_kl(policy: Policy, obs: Tensor, old: OldPolicy, estimator: str = "closed_form") -> Tensor:
    """Return the trust region's ``c(s) = KL(old || new)``; for diffusion, along chains drawn from the old policy.

    Args:
        policy: Current policy; gradients reach all of its parameters.
        obs: Normalised observations ``[B, O]``.
        old: Data of the old policy in these states; the KL is averaged over several chains per state.
        estimator: ``closed_form``, and for diffusion ``mean_only`` or ``log_ratio``.

    Returns:
        ``[B]`` in nats.

    Raises:
        ValueError: If the estimator is unknown.
        TypeError: If one policy is a diffusion policy and the other a Gaussian.
    """
    if isinstance(policy, GaussianPolicy) and isinstance(old, OldGaussians):
        return kl_divergence(Gaussian(old.mean, old.log_std), policy(obs))
    if not isinstance(policy, DiffusionPolicy) or not isinstance(old, OldChains):
        raise TypeError(f"No KL between a {type(policy).__name__} and {type(old).__name__}.")
    num_chains = old.latents.shape[1] // max(obs.shape[0], 1)
    several = num_chains > 1
    # one network call over all denoising steps
    means = policy.means(obs.repeat(num_chains, 1) if several else obs, old.latents[:-1])
    kl = chain_kl(estimator, old.latents[1:], old.means, old.steps, means, policy.step_sizes())
    return kl.view(num_chains, obs.shape[0]).mean(0) if several else kl


def chain_kl(
    estimator: str, reached: Tensor, old_means: Tensor, old_steps: Tensor, means: Tensor, steps: Tensor
) -> Tensor:
    """Return the KL ``[B]`` in nats along old chains, summed over any ``M`` of their steps; see :func:`path_kl`.

    Args:
        estimator: ``closed_form``, ``mean_only`` or ``log_ratio``.
        reached: Latents ``x_{k+1}`` after the steps, ``[M, B, A]``.
        old_means: The old policy's denoising means ``[M, B, A]``.
        old_steps: Its step sizes ``[M, A]`` or ``[M, B, A]``.
        means: The current policy's means from the same latents ``[M, B, A]``.
        steps: Its step sizes ``[M, A]``.
    """
    if estimator == "closed_form":
        return gaussian_kl(old_means, old_steps, means, steps)
    if estimator == "mean_only":
        return mean_only_kl(old_means, old_steps, means)
    if estimator == "log_ratio":
        return step_log_ratios(reached, old_means, old_steps, means, steps).sum(0)
    raise ValueError(f"Unknown path KL estimator {estimator!r}.")


@torch.no_grad()
def fresh_chains(old_policy: DiffusionPolicy, obs: Tensor, noise: Tensor) -> OldChains:
    """Draw ``K`` chains at each normalised observation ``[B, O]`` from standard normal noise ``[N+1, K*B, A]``."""
    chain = old_policy.sample(obs.repeat(noise.shape[1] // len(obs), 1), noise)
    return OldChains(chain.latents, chain.means, old_policy.step_sizes())


def reverse_path_kl(policy: Policy, old_policy: Policy, obs: Tensor, trace: Tensor) -> Tensor:
    """Return ``KL(new || old)`` ``[B]`` nats, for diffusion along the policy's own chains.

    ``trace`` ``[R, B, A]`` is that of the current policy's decisions at ``obs`` ``[B, O]``; gradients flow through it.
    """
    return path_kl(old_policy, obs, from_trace(policy, trace, step_sizes_of(policy)))


REPLAY_SHARE = 0.01
"""Largest path KL of a policy to itself that counts as rounding, as a share of the trust region's bound."""


@torch.no_grad()
def replay_error(
    policy: Policy, obs: Tensor, sample: Callable[[Tensor, Tensor], Decision], precision: Precision
) -> Tensor:
    """Return a policy's largest KL to itself when its decisions are replayed in other batch shapes: scalar, nats.

    Meanwhile the policy's last layer has random weights of order 1: before the first update its own weights are near
    zero, and any error of the matrix products would vanish.

    Args:
        policy: The policy that collects; unchanged afterwards.
        obs: Normalised observations ``[B, O]``.
        sample: The function that collects rollouts, compiled or not.
        precision: Precision of the matrix products, ``fp32``, ``tf32`` or ``bf16``.
    """
    weight = policy.output_layer.weight
    own = weight.clone()
    generator = torch.Generator(obs.device).manual_seed(0)
    probe = torch.randn(weight.shape, generator=generator, device=obs.device) / weight.shape[1] ** 0.5
    draws = policy.num_draws, len(obs), policy.num_actions
    noise = torch.randn(draws, generator=generator, device=obs.device).to(dtype=policy.trace_dtype)
    try:
        weight.copy_(probe)
        decision = sample(obs, noise)
        with network_precision(precision, obs.device.type):
            old = from_trace(policy, decision.trace.to(dtype=policy.trace_dtype), step_sizes_of(policy))
            return path_kl(policy, obs, old).abs().max()
    finally:
        weight.copy_(own)


def report_replay(error: float, precision: Precision, kl_bound: float, verbose: bool) -> None:
    """Log a :func:`replay_error` in reduced precision, if ``verbose``; raise unless it is rounding.

    :data:`REPLAY_SHARE` of the trust region's bound ``kl_bound``, nats, is allowed.

    Raises:
        RuntimeError: Naming the usual cause.
    """
    allowed = REPLAY_SHARE * kl_bound
    # negated, so that NaN fails
    if not error <= allowed:
        remedy = (
            "Matrix products do not have the precision that was set: after the simulator has started, call "
            f"torch.set_float32_matmul_precision('highest'), or set {setting('algorithm.compile', repr('off'))}."
            if precision == "fp32"
            else "Use fp32."
        )
        raise RuntimeError(
            f"Replaying decisions changes the policy by {error:.1e} nats (at most {allowed:.1e} is right, "
            f"{REPLAY_SHARE:.0%} of algorithm.kl_bound) with algorithm.precision={precision}, so the trust region "
            f"would act on rounding. {remedy}"
        )
    if precision != "fp32" and verbose:
        logger.info("In %s, rounding changes the path KL by up to %.1e nats of %g.", precision, error, kl_bound)
