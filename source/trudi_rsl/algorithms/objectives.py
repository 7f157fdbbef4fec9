# SPDX-License-Identifier: BSD-3-Clause
"""What a minibatch minimises, as pure functions of tensors that can be compiled or captured as they are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trudi_rsl.algorithms.losses import critic_losses, gated_actor_loss, masked_mean
from trudi_rsl.algorithms.trust_region import OldPolicy, path_kl, reverse_path_kl
from trudi_rsl.networks import QCritic
from trudi_rsl.policy import Policy
from trudi_rsl.storage import Minibatch


class Objective(NamedTuple):
    """A loss and what is logged of it."""

    loss: Tensor
    """Scalar, to be differentiated."""
    metrics: dict[str, Tensor]
    """Scalars without gradient."""


class ActorTerms(NamedTuple):
    """What an actor's objective reads beside the networks."""

    obs: Tensor
    """Normalised actor observations ``[B, O]``."""
    critic_obs: Tensor
    """Normalised critic observations ``[B, Oc]``."""
    noise: Tensor
    """Standard normal noise of the actor's own decisions, ``[num_draws, B, A]``."""
    old: OldPolicy | None
    """What is known of the policy that collected the rollout; None for the reverse KL, which asks that policy, and
    without a trust region."""
    alpha: Tensor
    """Temperature, scalar, constant."""
    multiplier: Tensor
    """``lambda``, scalar, constant."""


def critic_objective(critic: QCritic, batch: Minibatch, aux_loss_coef: float) -> Objective:
    """Return the critic's cross-entropy plus ``aux_loss_coef`` times its feature-prediction loss."""
    output = critic(batch.critic_obs, batch.actions)
    value_loss, feature_loss = critic_losses(
        output,
        critic.hl_gauss.encode(batch.targets),
        batch.next_features,
        batch.target_valid,
        batch.features_valid,
        batch.counts,
    )
    values = critic.decode(output.logits.detach())
    metrics = {
        "critic": value_loss.detach(),
        "feature": feature_loss.detach(),
        "q_mean": values.mean(),
        "td_error": masked_mean((values - batch.targets).abs(), batch.target_valid),
    }
    return Objective(value_loss + aux_loss_coef * feature_loss, metrics)


def masked_actor_objective(
    policy: Policy,
    old_policy: Policy,
    critic: QCritic,
    terms: ActorTerms,
    kl_bound: float,
    estimator: str,
) -> Objective:
    """Return the mean over states of ``c(s) <= eps ? alpha * lp - Q : lambda * c(s)``, both branches computed for all.

    Shapes do not depend on values, as compiled and captured code needs it.

    Args:
        policy: The actor.
        old_policy: The actor that collected the rollout; read for the reverse KL alone.
        critic: Q-function, held constant.
        terms: The minibatch.
        kl_bound: Trust region ``eps`` in nats.
        estimator: Of the path KL; see :func:`~trudi_rsl.algorithms.trust_region.path_kl`, or ``reverse``.
    """
    decision = policy.decide(terms.obs, terms.noise)
    if terms.old is None:
        kl = reverse_path_kl(policy, old_policy, terms.obs, decision.trace)
    else:
        kl = path_kl(policy, terms.obs, terms.old, estimator)
    values = critic.value(terms.critic_obs, decision.action)
    gate = kl.detach() <= kl_bound
    loss = gated_actor_loss(decision.log_prob, values, kl, gate, terms.alpha, terms.multiplier)
    return Objective(loss, actor_metrics(loss, decision.log_prob.sum(), kl, gate))


def selected_actor_objective(
    policy: Policy, critic: QCritic, terms: ActorTerms, kl_bound: float, estimator: str
) -> Objective:
    """Return what :func:`masked_actor_objective` does, computing for each state only the branch that its gate selects.

    The path KL's value comes first and without gradient. A state beyond ``eps`` then needs a gradient of its path KL,
    one within needs that of its action; the log-probs of the others serve the entropy's estimate alone. Reads the
    number of gated states, so it waits for the device.
    """
    assert terms.old is not None, "the reverse KL is computed along decisions that need a gradient anyway"
    with torch.no_grad():
        kl = path_kl(policy, terms.obs, terms.old, estimator)
    gate = kl <= kl_bound
    inside, outside = gate.nonzero().squeeze(-1), (~gate).nonzero().squeeze(-1)
    decision = policy.decide(terms.obs[inside], terms.noise[:, inside])
    values = critic.value(terms.critic_obs[inside], decision.action)
    with torch.no_grad():
        elsewhere = policy.decide(terms.obs[outside], terms.noise[:, outside])
        log_prob_sum = decision.log_prob.sum() + elsewhere.log_prob.sum()
    restricted = path_kl(policy, terms.obs[outside], terms.old.at(outside, len(kl)), estimator)
    loss = ((terms.alpha * decision.log_prob - values).sum() + terms.multiplier * restricted.sum()) / len(kl)
    return Objective(loss, actor_metrics(loss, log_prob_sum, kl, gate))


def free_actor_objective(policy: Policy, critic: QCritic, terms: ActorTerms) -> Objective:
    """Return the mean over states of ``alpha * lp - Q``, for a policy without a trust region (DIME).

    Args:
        policy: The actor.
        critic: Q-function, held constant.
        terms: The minibatch; ``old`` and ``multiplier`` are not read.
    """
    decision = policy.decide(terms.obs, terms.noise)
    loss = (terms.alpha * decision.log_prob - critic.value(terms.critic_obs, decision.action)).mean()
    return Objective(loss, {"actor": loss.detach(), "entropy": -decision.log_prob.detach().mean()})


def actor_metrics(loss: Tensor, log_prob_sum: Tensor, kl: Tensor, gate: Tensor) -> dict[str, Tensor]:
    """Return what is logged of an actor's minibatch, scalars without gradient.

    Args:
        loss: The gated loss, scalar.
        log_prob_sum: Log-prob bounds summed over the states, scalar.
        kl: Path KL per state ``[B]``.
        gate: Whether it is within the trust region, bool ``[B]``.
    """
    kl = kl.detach()
    return {
        "actor": loss.detach(),
        "entropy": -log_prob_sum.detach() / len(kl),
        "path_kl": kl.mean(),
        "path_kl_max": kl.max(),
        "gated_share": 1.0 - gate.float().mean(),
    }
