# SPDX-License-Identifier: BSD-3-Clause
"""Adjoint matching against the pathwise gradient and against optimal controls that are known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.algorithms.builders import actor_critic, learner_and_batch, moved, old_policy
from tests.laws.linear_gaussian import assert_mean_is, with_linear_score
from trudi_rsl.algorithms.learner import Learner
from trudi_rsl.algorithms.objectives import (
    ActorTerms,
    adjoint_objective,
    adjoint_states,
    pathwise_objective,
)
from trudi_rsl.algorithms.trust_region import TrustRegion
from trudi_rsl.diffusion.adjoint import adjoints, matching_loss, terminal_cost
from trudi_rsl.diffusion.chain import log_det_squash, log_prob_bound
from trudi_rsl.policies.diffusion import DiffusionPolicy

pytestmark = pytest.mark.usefixtures("float64")


def state_independent_policy(num_steps: int, friction: float = 1.0) -> DiffusionPolicy:
    """Return a policy whose control depends on the step alone, with two different frictions."""
    policy = DiffusionPolicy(1, 2, num_steps, hidden_dims=[2])
    policy.raw_friction.data.copy_((friction * torch.tensor([0.6, 1.4])).expm1().log())
    return with_linear_score(policy, torch.zeros(num_steps, 2, 2), 2.0 * torch.randn(num_steps, 2))


def gradients(loss: Tensor, policy: DiffusionPolicy) -> dict[str, Tensor]:
    # the gain of a control that happens to be zero is a way in which it may depend on the state
    parameters = {n: p for n, p in policy.named_parameters() if n in {"raw_friction", "score_network.offsets"}}
    return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))


def matching_gradients(
    policy: DiffusionPolicy, noise: Tensor, end_cost: Callable[[Tensor], Tensor], alpha: float
) -> dict[str, Tensor]:
    obs = torch.zeros(noise.shape[1], 1)
    with torch.no_grad():
        chain = policy.sample(obs, noise)
    end = chain.latents[-1].clone().requires_grad_()
    (at_end,) = torch.autograd.grad(end_cost(end).sum(), end)
    steps, temperature = policy.step_sizes(), torch.tensor(alpha)
    adjoint = adjoints(at_end, steps.detach(), policy.prior_std)
    control = policy.controls(obs, chain.latents[:-1])
    loss = matching_loss(control, adjoint, chain.latents[:-1], noise[1:], steps, temperature, policy.prior_std)
    return gradients(loss.mean(), policy)


def value(x: Tensor) -> Tensor:
    return (x.tanh() * torch.tensor([1.3, -0.7])).sum(-1) + x.prod(-1).sin()


def test_the_q_part_is_the_pathwise_gradient_where_controls_do_not_depend_on_the_state() -> None:
    policy = state_independent_policy(8)
    noise = policy.draw_noise(50)
    pathwise = gradients(-value(policy.sample(torch.zeros(50, 1), noise).latents[-1]).mean(), policy)
    matching = matching_gradients(policy, noise, lambda x: -value(x), alpha=0.0)
    torch.testing.assert_close(matching, pathwise)


@pytest.mark.slow
def test_the_entropy_part_is_the_pathwise_gradient_up_to_the_discretisation() -> None:
    def error(num_steps: int) -> float:
        """Return the error of the gradient in controls and frictions, relative to its length."""
        policy = state_independent_policy(num_steps, friction=0.2)
        policy.score_network.offsets.data.fill_(0.8)  # type: ignore[union-attr, operator]
        noise = policy.draw_noise(20_000)
        # antithetic, as what is odd in the noise is only in the way
        noise = torch.cat([noise, -noise], dim=1)
        chain = policy.sample(torch.zeros(40_000, 1), noise)
        bound = log_prob_bound(chain.latents, chain.noise, policy.step_sizes(), policy.prior_std)
        pathwise = gradients(bound.mean(), policy)
        matching = matching_gradients(policy, noise, lambda x: -0.5 * (x / policy.prior_std).square().sum(-1), 1.0)
        found, expected = (
            torch.cat([g["score_network.offsets"].sum(0), g["raw_friction"]]) for g in (matching, pathwise)
        )
        return ((found - expected).norm() / expected.norm()).item()

    coarse, fine, finest = error(16), error(32), error(64)
    assert coarse < 0.2
    # the error is of first order in the step size
    assert fine < 0.6 * coarse and finest < 0.6 * fine


def test_the_loss_is_least_at_minus_two_adjoints_over_alpha() -> None:
    adjoint, latents, noise = torch.randn(3, 4, 5, 2)
    steps, alpha = torch.rand(4, 2), torch.tensor(0.3)
    best = (-2.0 * adjoint / alpha).requires_grad_()
    loss = matching_loss(best, adjoint, latents, noise, steps, alpha, 2.5).sum()
    (gradient,) = torch.autograd.grad(loss, best)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_the_optimal_control_of_a_quadratic_q_draws_its_target_density() -> None:
    """``Q = -alpha |x - m|^2 / (2 s0^2) - alpha log|da/dx|`` has the target N(m, s0^2), reached by a known control."""
    policy = DiffusionPolicy(1, 2, num_steps=400, init_friction=0.01, hidden_dims=[2])
    alpha, s0, centre = torch.tensor(0.2), policy.prior_std, torch.tensor([1.5, -0.8])
    steps = policy.step_sizes().detach()
    # G is linear then, so that the adjoint, and with it the best control, depends on the step alone
    end = (-alpha * centre / s0**2).expand(1, 2)
    best = -2.0 * adjoints(end, steps, s0)[:, 0] / alpha

    def cost(x: Tensor) -> Tensor:
        q = alpha * (-0.5 * ((x - centre) / s0).square().sum(-1) - log_det_squash(x))
        return terminal_cost(x, q, alpha, s0)

    x = torch.randn(3, 2).requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(cost(x).sum(), x)[0], end.expand(3, 2))
    with_linear_score(policy, torch.zeros(400, 2, 2), best)
    with torch.no_grad():
        reached = policy.sample(torch.zeros(20_000, 1), policy.draw_noise(20_000)).latents[-1]
    for sample, mean in zip(reached.T, centre, strict=True):
        assert_mean_is(sample, mean)
        assert sample.std().item() == pytest.approx(s0, rel=0.03)


def learner_and_terms(**settings: Any) -> tuple[Learner, ActorTerms]:
    learner, batch, old_steps = learner_and_batch(moved(actor_critic()), init_alpha=0.3, init_lambda=0.7, **settings)
    noise = learner.actor_critic.actor.draw_noise(len(batch.actor_obs))
    old = old_policy(learner, batch, old_steps)
    return learner, ActorTerms(batch.actor_obs, batch.critic_obs, noise, old, learner.alpha, learner.multiplier)


@pytest.mark.parametrize("estimator", ["closed_form", "mean_only", "log_ratio"])
def test_states_beyond_the_trust_region_get_the_path_kls_own_gradient(estimator: str) -> None:
    learner, terms = learner_and_terms()
    model = learner.actor_critic
    region = TrustRegion(-1e9, estimator, model.old_actor)
    states = adjoint_states(model.actor, model.critic, terms, region)
    assert not states.gate.any()
    matched = adjoint_objective(model.actor, terms, states, torch.arange(4), estimator)
    pathwise = pathwise_objective(model.actor, model.critic, terms, region)
    parameters = list(model.actor.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(matched.loss, parameters, materialize_grads=True),
        torch.autograd.grad(pathwise.loss, parameters, materialize_grads=True),
    )


def test_random_steps_give_the_gradient_of_all_steps_on_average_and_the_pathwise_metrics() -> None:
    learner, terms = learner_and_terms()
    model = learner.actor_critic
    region = TrustRegion(0.5, "closed_form", model.old_actor)
    states = adjoint_states(model.actor, model.critic, terms, region)
    assert 0.0 < states.metrics["gated_share"] < 1.0
    torch.testing.assert_close(states.metrics, pathwise_objective(model.actor, model.critic, terms, region).metrics)
    parameters = list(model.actor.parameters())

    def gradient(chosen: list[int]) -> Tensor:
        objective = adjoint_objective(model.actor, terms, states, torch.tensor(chosen), "closed_form")
        return torch.cat([g.flatten() for g in torch.autograd.grad(objective.loss, parameters)])

    pairs = [gradient([i, j]) for i in range(4) for j in range(i)]
    assert not torch.allclose(pairs[0], pairs[1])
    torch.testing.assert_close(torch.stack(pairs).mean(0), gradient([0, 1, 2, 3]))


def test_more_steps_than_there_are_mean_all() -> None:
    def gradient(num_steps: int) -> tuple[Tensor, ...]:
        torch.manual_seed(5)
        learner, terms = learner_and_terms(actor_gradient="adjoint", num_adjoint_steps=num_steps)
        return learner._differentiate_actor(terms, learner._draw(len(terms.obs)).chosen)[1]

    every, more, fewer = gradient(0), gradient(9), gradient(1)
    torch.testing.assert_close(more, every)
    assert any(not torch.allclose(one, all_of_them) for one, all_of_them in zip(fewer, every, strict=True))
