# SPDX-License-Identifier: BSD-3-Clause
"""The actor's objective by adjoint matching: chains without gradient, then one network call over chosen steps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trudi_rsl.algorithms.losses import gated_actor_loss
from trudi_rsl.algorithms.objectives import ActorTerms, Objective, actor_metrics
from trudi_rsl.algorithms.trust_region import OldChains, chain_kl, path_kl
from trudi_rsl.diffusion import DiffusionPolicy
from trudi_rsl.diffusion.adjoint import adjoints, matching_loss, terminal_cost
from trudi_rsl.diffusion.chain import denoising_mean
from trudi_rsl.networks import QCritic


class AdjointStates(NamedTuple):
    """What the actor is regressed on, constant."""

    latents: Tensor
    """``x_0 .. x_{N-1}`` of the policy's own chains, ``[N, B, A]``."""
    adjoints: Tensor
    """``A_1 .. A_N``, ``[N, B, A]``."""
    gate: Tensor
    """Whether the state is within the trust region, bool ``[B]``."""
    metrics: dict[str, Tensor]
    """Scalars; ``actor`` is the same loss as the pathwise objective's."""


@torch.no_grad()
def adjoint_states(
    policy: DiffusionPolicy, critic: QCritic, terms: ActorTerms, kl_bound: float, estimator: str
) -> AdjointStates:
    """Draw the policy's chains, evaluate the whole path KL and differentiate the critic at the chains' ends.

    Args:
        policy: The actor.
        critic: Q-function.
        terms: The minibatch, with one old chain per state.
        kl_bound: Trust region ``eps`` in nats.
        estimator: Of the path KL.
    """
    assert terms.old is not None, "the reverse KL depends on chains that are not differentiated here"
    chain = policy.sample(terms.obs, terms.noise)

    def cost(x: Tensor) -> tuple[Tensor, Tensor]:
        values = critic.value(terms.critic_obs, x.tanh())
        return terminal_cost(x, values, terms.alpha, policy.prior_std).sum(), values

    end, values = torch.func.grad(cost, has_aux=True)(chain.latents[-1])
    kl = path_kl(policy, terms.obs, terms.old, estimator)
    gate = kl <= kl_bound
    log_probs = policy.log_prob_bound(chain)
    loss = gated_actor_loss(log_probs, values, kl, gate, terms.alpha, terms.multiplier)
    return AdjointStates(
        chain.latents[:-1],
        adjoints(end, policy.step_sizes(), policy.prior_std),
        gate,
        actor_metrics(loss, log_probs.sum(), kl, gate),
    )


def adjoint_objective(
    policy: DiffusionPolicy, terms: ActorTerms, states: AdjointStates, chosen: Tensor, estimator: str
) -> Objective:
    """Return the matching loss of states within the trust region and the path KL of the others, on chosen steps.

    Both are sums over steps, so ``M`` steps drawn without preference, times ``N / M``, are unbiased. A state's network
    input is its own chain's latent in the first case and the old chain's in the second: one call serves both.

    Args:
        policy: The actor.
        terms: The minibatch.
        states: Of the same minibatch and policy.
        chosen: Indices of the steps ``[M]``, without repetition.
        estimator: Of the path KL.
    """
    old = terms.old
    assert isinstance(old, OldChains)
    own = states.latents[chosen]
    latents = own.where(states.gate[:, None], old.latents[:-1][chosen])
    steps = policy.step_sizes()[chosen]
    control = policy.controls(terms.obs, latents, chosen)
    matching = matching_loss(
        control, states.adjoints[chosen], own, terms.noise[1:][chosen], steps, terms.alpha, policy.prior_std
    )
    means = denoising_mean(latents, control, steps[:, None], policy.prior_std)
    kl = chain_kl(estimator, old.latents[1:][chosen], old.means[chosen], old.steps[chosen], means, steps)
    loss = matching.where(states.gate, terms.multiplier * kl).mean() * (policy.num_steps / len(chosen))
    return Objective(loss, states.metrics)
