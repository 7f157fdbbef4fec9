# SPDX-License-Identifier: BSD-3-Clause
"""Every loss that the learner minimises, as pure functions of tensors that can be compiled or captured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from trudi_rsl.acceleration import Accelerator, Gradient, network_precision
from trudi_rsl.algorithms.trust_region import OldChains, OldPolicy, chain_kl, path_kl, reverse_path_kl
from trudi_rsl.diffusion.adjoint import adjoints, matching_loss, terminal_cost
from trudi_rsl.diffusion.chain import denoising_mean
from trudi_rsl.networks import CriticOutput, QCritic
from trudi_rsl.policies import ActorCritic
from trudi_rsl.policies.base import Policy
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.settings import TruDiCfg
from trudi_rsl.storage import Minibatch


def masked_mean(values: Tensor, mask: Tensor, count: Tensor | None = None) -> Tensor:
    """Return the mean of ``values`` ``[B]`` over rows where ``mask`` ``[B]`` holds; 0 when there are none.

    ``count`` takes the place of the number of these rows. Where several processes each divide by the mean of their
    numbers, the mean of what they get is that over the rows of all.
    """
    return (values * mask).sum() / (mask.sum().clamp(min=1) if count is None else count)


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
        target_valid: Rows whose target counts, bool ``[B]``.
        features_valid: Rows whose next features count, bool ``[B]``.
        counts: Numbers of rows ``[2]`` to divide by, for the two losses; None takes those of this batch.
    """
    num_targets, num_features = (None, None) if counts is None else counts
    cross_entropy = -(target_probabilities * F.log_softmax(output.logits, dim=-1)).sum(-1)
    prediction_error = (output.predicted_features - next_features).square().mean(-1)
    return (
        masked_mean(cross_entropy, target_valid, num_targets),
        masked_mean(prediction_error, features_valid, num_features),
    )


def gated_actor_loss(
    log_probs: Tensor, values: Tensor, path_kl: Tensor, gate: Tensor, alpha: Tensor, multiplier: Tensor
) -> Tensor:
    """Return the mean over states of ``c(s) <= eps ? alpha * lp - Q : lambda * c(s)``.

    Args:
        log_probs: Log-prob bound of the policy's own actions ``[B]``.
        values: ``Q`` of these actions ``[B]``.
        path_kl: ``c(s)`` ``[B]``.
        gate: Whether ``c(s)`` is within the trust region, bool ``[B]``, not differentiated.
        alpha: Temperature, scalar, constant.
        multiplier: ``lambda``, scalar, constant.
    """
    # multiplication by a mask would turn an infinite loss of the other branch into NaN
    return (alpha * log_probs - values).where(gate, multiplier * path_kl).mean()


def temperature_loss(log_alpha: Tensor, entropy: Tensor, entropy_target: float) -> Tensor:
    """Return ``alpha (l - target)``, which is also its derivative by ``log_alpha``.

    Args:
        log_alpha: Logarithm of the temperature, scalar.
        entropy: Entropy bound ``l`` of the batch, scalar, constant.
        entropy_target: Target of ``l`` in nats, summed over dimensions.
    """
    return log_alpha.exp() * (entropy - entropy_target)


def multiplier_loss(log_lambda: Tensor, path_kl: Tensor, kl_bound: float) -> Tensor:
    """Return ``-lambda (mean c - eps)``, which is also its derivative by ``log_lambda``.

    Args:
        log_lambda: Logarithm of the trust region's multiplier, scalar.
        path_kl: Mean path KL of the batch, scalar, constant.
        kl_bound: Trust region ``eps``.
    """
    return -log_lambda.exp() * (path_kl - kl_bound)


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


ActorGradient = Callable[[ActorTerms], tuple[Objective, tuple[Tensor, ...]]]
"""Returns what is logged and the gradient for each of the actor's parameters."""


def actor_gradient(model: ActorCritic[Any], cfg: TruDiCfg, accelerator: Accelerator) -> ActorGradient:
    """Return the gradient that ``cfg.actor_gradient`` names, compiled where ``accelerator`` does so."""
    kind = _AdjointGradient if cfg.actor_gradient == "adjoint" else _PathwiseGradient
    return kind(model, cfg, accelerator)


class _PathwiseGradient:
    """The gradient through whole chains."""

    def __init__(self, model: ActorCritic[Any], cfg: TruDiCfg, accelerator: Accelerator) -> None:
        self._model, self._cfg, self._fixed_shapes = model, cfg, accelerator.compiles
        self._gradient = accelerator.compile("actor step", Gradient(self._objective, list(model.actor.parameters())))

    def __call__(self, terms: ActorTerms) -> tuple[Objective, tuple[Tensor, ...]]:
        """Return what is logged and the gradient."""
        return self._gradient(terms)

    def _objective(self, terms: ActorTerms) -> Objective:
        model, cfg = self._model, self._cfg
        with network_precision(cfg.precision, terms.obs.device.type):
            if not cfg.has_trust_region:
                return free_actor_objective(model.actor, model.critic, terms)
            # on a GPU, waiting for the number of gated states costs more than computing both branches
            if terms.old is None or self._fixed_shapes or terms.obs.is_cuda:
                return masked_actor_objective(
                    model.actor, model.old_actor, model.critic, terms, cfg.kl_bound, cfg.kl_estimator
                )
            return selected_actor_objective(model.actor, model.critic, terms, cfg.kl_bound, cfg.kl_estimator)


class _AdjointGradient:
    """Adjoint matching in two stages, each of which is compiled by itself."""

    def __init__(self, model: ActorCritic[Any], cfg: TruDiCfg, accelerator: Accelerator) -> None:
        self._model, self._cfg = model, cfg
        self._states = accelerator.compile("actor's chains", self._find_states)
        self._gradient = accelerator.compile("actor step", Gradient(self._objective, list(model.actor.parameters())))

    def __call__(self, terms: ActorTerms) -> tuple[Objective, tuple[Tensor, ...]]:
        """Return what is logged and the gradient, on a fresh draw of denoising steps."""
        num_steps = self._model.actor.num_steps
        num_chosen = min(self._cfg.num_adjoint_steps or num_steps, num_steps)
        # topk, since a CUDA graph can hold it
        chosen = torch.rand(num_steps, device=terms.obs.device).topk(num_chosen).indices
        return self._gradient(terms, self._states(terms), chosen)

    def _find_states(self, terms: ActorTerms) -> AdjointStates:
        with network_precision(self._cfg.precision, terms.obs.device.type):
            model, cfg = self._model, self._cfg
            return adjoint_states(model.actor, model.critic, terms, cfg.kl_bound, cfg.kl_estimator)

    def _objective(self, terms: ActorTerms, states: AdjointStates, chosen: Tensor) -> Objective:
        with network_precision(self._cfg.precision, terms.obs.device.type):
            return adjoint_objective(self._model.actor, terms, states, chosen, self._cfg.kl_estimator)
