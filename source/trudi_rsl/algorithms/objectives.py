# SPDX-License-Identifier: BSD-3-Clause
"""The losses that the learner minimises: critic, actor, duals. Pure functions of tensors that compile as one graph."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from trudi_rsl.algorithms import selected_branch
from trudi_rsl.algorithms.trust_region import (
    OldChains,
    OldPolicy,
    TrustRegion,
    chain_kl,
    path_kl,
    reverse_path_kl,
)
from trudi_rsl.diffusion.adjoint import adjoints, matching_loss, terminal_cost
from trudi_rsl.diffusion.chain import denoising_mean
from trudi_rsl.networks import CriticOutput, QCritic
from trudi_rsl.policies.base import Policy
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.storage import Minibatch


class Objective(NamedTuple):
    """A loss and its logged metrics."""

    loss: Tensor
    """Scalar, to be differentiated."""
    metrics: dict[str, Tensor]
    """Scalars without gradient."""


# -- critic -----------------------------------------------------------------------------------------------------------


def critic_objective(critic: QCritic, batch: Minibatch, aux_loss_coef: float) -> Objective:
    """Return the critic's cross-entropy plus ``aux_loss_coef`` times its feature-prediction loss."""
    output = critic(batch.critic_obs, batch.actions)
    codes = critic.hl_gauss.encode(batch.targets)
    value_loss, feature_loss = critic_losses(
        output, codes, batch.next_features, batch.target_valid, batch.features_valid, batch.counts
    )
    values = critic.decode(output.logits.detach())
    metrics = {
        "critic": value_loss.detach(),
        "feature": feature_loss.detach(),
        "q_mean": values.mean(),
        "td_error": masked_mean((values - batch.targets).abs(), batch.target_valid),
    }
    return Objective(value_loss + aux_loss_coef * feature_loss, metrics)


def critic_losses(
    output: CriticOutput,
    target_probabilities: Tensor,
    next_features: Tensor,
    target_valid: Tensor,
    features_valid: Tensor,
    counts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the HL-Gauss cross-entropy and the feature-prediction loss, both scalar.

    Args:
        output: Critic output on the batch.
        target_probabilities: HL-Gauss codes of the targets ``[B, num_bins]``.
        next_features: Critic features of the next pair, constant, ``[B, F]``.
        target_valid: Rows with a usable target, bool ``[B]``.
        features_valid: Rows with usable next features, bool ``[B]``.
        counts: Divisors ``[2]`` of the two sums; None uses the numbers of usable rows in this batch.
    """
    num_targets, num_features = (None, None) if counts is None else counts
    cross_entropy = -(target_probabilities * F.log_softmax(output.logits, dim=-1)).sum(-1)
    prediction_error = (output.predicted_features - next_features).square().mean(-1)
    return (
        masked_mean(cross_entropy, target_valid, num_targets),
        masked_mean(prediction_error, features_valid, num_features),
    )


def masked_mean(values: Tensor, mask: Tensor, count: Tensor | None = None) -> Tensor:
    """Return the mean of ``values`` ``[B]`` over rows where ``mask`` ``[B]`` holds; 0 when there are none.

    ``count`` replaces the number of these rows. If every rank divides by the mean of the ranks' numbers, the mean of
    the results is the mean over the rows of all ranks.
    """
    return (values * mask).sum() / (mask.sum().clamp(min=1) if count is None else count)


# -- actor ------------------------------------------------------------------------------------------------------------


class ActorTerms(NamedTuple):
    """Inputs of the actor's objective besides the networks."""

    obs: Tensor
    """Normalised actor observations ``[B, O]``."""
    critic_obs: Tensor
    """Latents of the critic's encoder ``[B, Oc]``, constant: without one, its normalised observations."""
    noise: Tensor
    """Standard normal noise of the actor's own decisions, ``[num_draws, B, A]``."""
    old: OldPolicy | None
    """Chains or distributions of the policy that collected the rollout; None for the reverse KL and for no region."""
    alpha: Tensor
    """Temperature, scalar, constant."""
    multiplier: Tensor
    """``lambda``, scalar, constant."""
    mirrored_obs: Tensor | None = None
    """Normalised actor observations of the mirror images of the first states, ``[(G-1)*B, O]``; None without mirror
    loss."""
    cameras: Mapping[str, Tensor] = MappingProxyType({})
    """The actor's camera images ``[B, C, H, W]`` by group, for an encoder that learns; ``obs`` become its latents."""
    old_obs: Tensor | None = None
    """Latents of the old policy's encoder ``[B, O]`` for the reverse KL; None if they are ``obs``."""


class Draws(NamedTuple):
    """Everything random in an update."""

    noise: Tensor
    """Standard normal noise of the actor's own decisions, ``[num_draws, B, A]``."""
    old_noise: Tensor | None
    """That of fresh chains of the old policy, ``[N+1, K*B, A]``; None where they are stored or not needed."""
    chosen: Tensor | None
    """Indices of the denoising steps that adjoint matching learns from, ``[M]`` without repetition; else None."""


Branches = Literal["both", "split", "selected"]
"""How the branches of the gated loss are computed.

- ``both``: each for all states, forward and backward.
- ``split``: for each state only the one that its gate selects. This saves time on a CPU; on a GPU it forces a sync, and
  shapes depend on values, so that it can be neither compiled nor captured.
- ``selected``: both forward, and backward the selected one, see :mod:`~trudi_rsl.algorithms.selected_branch`. This
  saves time on a GPU.
"""


def gated_actor_loss(
    log_probs: Tensor, values: Tensor, path_kl: Tensor, gate: Tensor, alpha: Tensor, multiplier: Tensor
) -> Tensor:
    """Return the mean over states of ``c(s) <= eps ? alpha * lp - Q : lambda * c(s)``.

    All are ``[B]`` but the constant scalars ``alpha`` and ``lambda``. ``lp`` is the log-prob bound of the policy's own
    actions, ``Q`` their value, and ``gate`` is ``c(s) <= eps``.
    """
    # multiplication by a mask would turn an infinite loss of the other branch into NaN
    return (alpha * log_probs - values).where(gate, multiplier * path_kl).mean()


def pathwise_objective(
    policy: Policy, critic: QCritic, terms: ActorTerms, region: TrustRegion | None, branches: Branches = "both"
) -> Objective:
    """Return the actor's loss, whose gradient runs through whole chains.

    Without a trust region (DIME) it is the mean of ``alpha * lp - Q``, else :func:`gated_actor_loss`.

    All ``branches`` have the same value and gradient, up to rounding. ``split`` needs ``terms.old``; ``selected`` is
    ``both`` for states that it does not apply to, see :func:`selected_branch.applies`.
    """
    if region is None:
        decision = policy.decide(terms.obs, terms.noise)
        loss = (terms.alpha * decision.log_prob - critic.value(terms.critic_obs, decision.action)).mean()
        return Objective(loss, {"actor": loss.detach(), "entropy": -decision.log_prob.detach().mean()})

    if branches == "selected" and selected_branch.applies(policy, terms.obs, terms.old):
        assert isinstance(policy, DiffusionPolicy) and isinstance(terms.old, OldChains)
        chain, own_kl, kl, gate = selected_branch.evaluate(policy, terms.obs, terms.noise, terms.old, region)
        log_probs, values = policy.log_prob_bound(chain), critic.value(terms.critic_obs, chain.latents[-1].tanh())
        loss = gated_actor_loss(log_probs, values, kl, gate, terms.alpha, terms.multiplier)
        return Objective(loss, _gate_metrics(loss, log_probs.sum(), own_kl, gate))

    if branches != "split":
        decision = policy.decide(terms.obs, terms.noise)
        if terms.old is None:
            old_obs = terms.obs if terms.old_obs is None else terms.old_obs
            kl = reverse_path_kl(policy, region.old_policy, old_obs, decision.trace)
        else:
            kl = path_kl(policy, terms.obs, terms.old, region.estimator)
        values = critic.value(terms.critic_obs, decision.action)
        gate = kl.detach() <= region.kl_bound
        loss = gated_actor_loss(decision.log_prob, values, kl, gate, terms.alpha, terms.multiplier)
        return Objective(loss, _gate_metrics(loss, decision.log_prob.sum(), kl, gate))

    assert terms.old is not None, "the reverse KL runs along decisions that need a gradient anyway"
    with torch.no_grad():
        kl = path_kl(policy, terms.obs, terms.old, region.estimator)
    gate = kl <= region.kl_bound
    inside, outside = gate.nonzero().squeeze(-1), (~gate).nonzero().squeeze(-1)
    decision = policy.decide(terms.obs[inside], terms.noise[:, inside])
    values = critic.value(terms.critic_obs[inside], decision.action)
    with torch.no_grad():
        log_probs_outside = policy.decide(terms.obs[outside], terms.noise[:, outside]).log_prob
    kl_outside = path_kl(policy, terms.obs[outside], terms.old.at(outside, len(kl)), region.estimator)
    loss = ((terms.alpha * decision.log_prob - values).sum() + terms.multiplier * kl_outside.sum()) / len(kl)
    return Objective(loss, _gate_metrics(loss, decision.log_prob.sum() + log_probs_outside.sum(), kl, gate))


class AdjointStates(NamedTuple):
    """Regression targets of adjoint matching, constant."""

    latents: Tensor
    """``x_0 .. x_{N-1}`` of the policy's own chains, ``[N, B, A]``."""
    adjoints: Tensor
    """``A_1 .. A_N``, ``[N, B, A]``."""
    gate: Tensor
    """Whether the state is within the trust region, bool ``[B]``."""
    metrics: dict[str, Tensor]
    """Scalars; ``actor`` is the same loss as the pathwise objective's."""


@torch.no_grad()
def adjoint_states(policy: DiffusionPolicy, critic: QCritic, terms: ActorTerms, region: TrustRegion) -> AdjointStates:
    """Draw the policy's chains, evaluate the whole path KL and differentiate the critic at the chains' ends.

    ``terms`` holds one old chain per state; the region's estimator is not ``reverse``.
    """
    assert terms.old is not None, "the reverse KL depends on chains that are not differentiated here"
    chain = policy.sample(terms.obs, terms.noise)

    def cost(x: Tensor) -> tuple[Tensor, Tensor]:
        values = critic.value(terms.critic_obs, x.tanh())
        return terminal_cost(x, values, terms.alpha, policy.prior_std).sum(), values

    end, values = torch.func.grad(cost, has_aux=True)(chain.latents[-1])
    kl = path_kl(policy, terms.obs, terms.old, region.estimator)
    gate = kl <= region.kl_bound
    log_probs = policy.log_prob_bound(chain)
    loss = gated_actor_loss(log_probs, values, kl, gate, terms.alpha, terms.multiplier)
    return AdjointStates(
        chain.latents[:-1],
        adjoints(end, policy.step_sizes(), policy.prior_std),
        gate,
        _gate_metrics(loss, log_probs.sum(), kl, gate),
    )


def adjoint_objective(
    policy: DiffusionPolicy, terms: ActorTerms, states: AdjointStates, chosen: Tensor, estimator: str
) -> Objective:
    """Return the matching loss of states within the trust region and the path KL of the others, on chosen steps.

    Both are sums over steps, so ``M`` steps drawn uniformly, times ``N / M``, are unbiased. A state's network input is
    its own chain's latent in the first case and the old chain's in the second: one call serves both.

    ``chosen`` are their indices ``[M]`` without repetition; ``states`` are of the same minibatch and policy.
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


def _gate_metrics(loss: Tensor, log_prob_sum: Tensor, kl: Tensor, gate: Tensor) -> dict[str, Tensor]:
    """Return metrics of a gated loss from the sum of log-prob bounds and the path KL and gate of each state ``[B]``."""
    kl = kl.detach()
    return {
        "actor": loss.detach(),
        "entropy": -log_prob_sum.detach() / len(kl),
        "path_kl": kl.mean(),
        "path_kl_max": kl.max(),
        "gated_share": 1.0 - gate.float().mean(),
    }


# -- duals ------------------------------------------------------------------------------------------------------------


def temperature_loss(log_alpha: Tensor, entropy: Tensor, entropy_target: float) -> Tensor:
    """Return ``alpha (l - target)`` of the batch's entropy bound ``l``, also its own derivative by ``log_alpha``.

    ``l`` and its target are in nats, summed over action dimensions.
    """
    return log_alpha.exp() * (entropy - entropy_target)


def multiplier_loss(log_lambda: Tensor, path_kl: Tensor, kl_bound: float) -> Tensor:
    """Return ``-lambda (c - eps)`` of the batch's mean path KL ``c``, also its own derivative by ``log_lambda``."""
    return -log_lambda.exp() * (path_kl - kl_bound)


# -- PPO and SPO ------------------------------------------------------------------------------------------------------


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return PPO's loss ``max(-A r, -A clip(r, 1 - eps, 1 + eps))``, of any shape (arXiv 1707.06347, Eq. 7)."""
    return torch.max(-advantages * ratio, -advantages * ratio.clamp(1.0 - clip, 1.0 + clip))


def penalised_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return SPO's loss ``-(r A - |A| / (2 eps) (r - 1)^2)``, least at ``r = 1 + eps sign(A)`` (arXiv 2401.16025)."""
    return advantages.abs() / (2.0 * clip) * (ratio - 1.0).square() - ratio * advantages


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """Return RSL-RL's mean squared error of the values ``[B, 1]``, with their change clipped to ``clip`` if given."""
    errors = (values - returns).square()
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        errors = torch.max(errors, (near - returns).square())
    return errors.mean()
