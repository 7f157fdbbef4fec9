# SPDX-License-Identifier: BSD-3-Clause
"""TruDi's gated loss, differentiated for each state along the one branch that its gate selects.

A state needs its own chain, for the entropy, and the current policy at the chain of the old one, for the gate. Only one
of the two is differentiated. In the pass that records gradients, each row of a denoising step is therefore the latent
of the selected chain, and the network's matrix products there are known: the backward pass is that of one chain, not of
two. Shapes are static and nothing is read on the host, whatever share of the states is gated.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trudi_rsl.algorithms.trust_region import OldChains, OldPolicy, TrustRegion, chain_kl
from trudi_rsl.diffusion.chain import Chain, denoising_mean
from trudi_rsl.diffusion.products import KnownProducts, RecordedProducts
from trudi_rsl.policies.base import Policy
from trudi_rsl.policies.diffusion import DiffusionPolicy


class SelectedBranch(NamedTuple):
    """Both branches of ``B`` states."""

    chain: Chain
    """The policy's own chains, with a gradient where the gate is open."""
    own_kl: Tensor
    """The path KL ``[B]``, nats; without gradient."""
    kl: Tensor
    """The path KL with its gradient where the gate is closed, meaningless elsewhere, ``[B]``."""
    gate: Tensor
    """Whether the path KL is within its bound, bool ``[B]``."""


def applies(policy: Policy, obs: Tensor, old: OldPolicy | None) -> bool:
    """Return whether states ``[B, O]`` have one chain of each branch: not a Gaussian's, nor several old chains."""
    return isinstance(policy, DiffusionPolicy) and isinstance(old, OldChains) and old.latents.shape[1] == len(obs)


def evaluate(
    policy: DiffusionPolicy, obs: Tensor, noise: Tensor, old: OldChains, region: TrustRegion
) -> SelectedBranch:
    """Evaluate both branches of the states and record the gradient of the one that the gate selects.

    Args:
        policy: The current policy.
        obs: Normalised observations ``[B, O]``, or latents of an encoder; gradients reach them.
        noise: Standard normal noise of the policy's own chains ``[N+1, B, A]``.
        old: One chain of the old policy for each state.
        region: Bound and estimator of the path KL; not ``reverse``.
    """
    net, steps, prior_std = policy.score_network, policy.step_sizes(), policy.prior_std
    conditions = net.obs_features(obs) + net.time_features(policy.num_steps)[:, None]
    visited = old.latents[:-1]

    def kl_of(means: Tensor) -> Tensor:
        return chain_kl(region.estimator, old.latents[1:], old.means, old.steps, means, steps)

    along_old = RecordedProducts()
    with torch.no_grad():
        controls = net.control(visited, conditions, along_old)
        own_kl = kl_of(denoising_mean(visited, controls, steps[:, None], prior_std))
    gate = own_kl <= region.kl_bound
    is_open = gate[:, None]

    sigmas = (2.0 * steps).sqrt()
    latents, means, selected_means = [prior_std * noise[0]], [], []
    for k in range(policy.num_steps):
        x, own = latents[k], RecordedProducts()
        with torch.no_grad():
            own_mean = denoising_mean(x, net.control(x, conditions[k], own), steps[k], prior_std)
        known = [a.where(is_open, b[k]) for a, b in zip(own.results, along_old.results, strict=True)]
        point = x.where(is_open, visited[k])
        control = net.control(point, conditions[k], KnownProducts(known))
        selected_means.append(denoising_mean(point, control, steps[k], prior_std))
        means.append(selected_means[k].where(is_open, own_mean))
        latents.append(means[k] + sigmas[k] * noise[k + 1])
    chain = Chain(torch.stack(latents), torch.stack(means), noise)
    return SelectedBranch(chain, own_kl, kl_of(torch.stack(selected_means)), gate)
