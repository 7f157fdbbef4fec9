# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of the path KL and of the actor's step against finite differences, with the noise fixed."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.algorithms.builders import NUM_OBS, actor_critic, gaussian_actor_critic, learner_and_batch, moved, old_policy
from trudi_rsl.algorithms.objectives import ActorTerms, Branches, pathwise_objective
from trudi_rsl.algorithms.trust_region import TrustRegion, fresh_chains, path_kl, reverse_path_kl
from trudi_rsl.policies import ActorCritic
from trudi_rsl.policies.diffusion import DiffusionPolicy

pytestmark = pytest.mark.usefixtures("float64")


@torch.no_grad()
def assert_gradients_match(
    loss: Callable[[], Tensor], parameters: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor]
) -> None:
    """Assert that each gradient, along a random direction, is the central difference of ``loss`` in float64."""
    step = 1e-5
    largest = 0.0
    for name, parameter in parameters.items():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
        start = parameter.clone()
        parameter.copy_(start + step * direction)
        above = loss()
        parameter.copy_(start - step * direction)
        below = loss()
        parameter.copy_(start)
        expected = (above - below) / (2.0 * step)
        actual = (gradients[name] * direction).sum()
        largest = max(largest, actual.abs().item())
        assert (actual - expected).abs() < 1e-6 * (1.0 + expected.abs()), f"{name}: {actual}, expected {expected}"
    assert largest > 1e-3, "all gradients vanish, so nothing was compared"


def assert_stored_gradients_match(loss: Callable[[], Tensor], module: nn.Module) -> None:
    parameters = dict(module.named_parameters())
    assert_gradients_match(loss, parameters, {name: p.grad for name, p in parameters.items() if p.grad is not None})


def assert_autograd_is_right(loss: Callable[[], Tensor], policy: DiffusionPolicy) -> None:
    parameters = dict(policy.named_parameters())
    gradients = torch.autograd.grad(loss(), list(parameters.values()), materialize_grads=True)
    assert_gradients_match(loss, parameters, dict(zip(parameters, gradients, strict=True)))


@pytest.mark.parametrize("num_chains", [1, 2])
@pytest.mark.parametrize("estimator", ["closed_form", "mean_only", "log_ratio"])
def test_path_kl_gradient(estimator: str, num_chains: int) -> None:
    model, obs = moved(actor_critic()), torch.randn(6, NUM_OBS)
    old = fresh_chains(model.old_actor, obs, model.old_actor.draw_noise(num_chains * len(obs)))
    assert_autograd_is_right(lambda: path_kl(model.actor, obs, old, estimator).mean(), model.actor)


def test_gradients_of_reverse_path_kl_and_log_prob_bound_flow_through_the_policys_own_latents() -> None:
    model, obs = moved(actor_critic()), torch.randn(6, NUM_OBS)
    actor, old, noise = model.actor, model.old_actor, model.actor.draw_noise(6)
    assert_autograd_is_right(lambda: reverse_path_kl(actor, old, obs, actor.decide(obs, noise).trace).mean(), actor)
    assert_autograd_is_right(lambda: actor.log_prob_bound(actor.sample(obs, noise)).mean(), actor)


@pytest.mark.parametrize("share_gated", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("build", "estimator", "chains"),
    [(actor_critic, "closed_form", "stored"), (actor_critic, "mean_only", "stored"),
     (actor_critic, "log_ratio", "stored"), (actor_critic, "closed_form", "fresh"), (actor_critic, "reverse", "stored"),
     (gaussian_actor_critic, "closed_form", "stored")],
)  # fmt: skip
def test_actor_step_descends_the_gated_loss(
    build: Callable[[], ActorCritic[Any]], estimator: str, chains: str, share_gated: float
) -> None:
    """The learner's gradient is that of ``c(s) <= eps ? alpha lp - Q : lambda c(s)``, the gate held."""
    model = moved(build())
    learner, batch, old_steps = learner_and_batch(
        model, kl_estimator=estimator, kl_chains=chains, max_grad_norm=1e9, init_alpha=0.3, init_lambda=0.7
    )

    def terms() -> tuple[Tensor, Tensor]:
        torch.manual_seed(7)
        decision = model.decide(batch.actor_obs)
        q = model.critic.value(batch.critic_obs, decision.latent.tanh())
        inside = 0.3 * decision.log_prob - q
        old = old_policy(learner, batch, old_steps)
        if old is None:
            kl = reverse_path_kl(model.actor, model.old_actor, batch.actor_obs, decision.trace)
        else:
            kl = path_kl(model.actor, batch.actor_obs, old, estimator)
        return inside, 0.7 * kl

    ordered = terms()[1].detach().sort().values / 0.7
    closed = int(share_gated * len(ordered))
    bounds = torch.cat([ordered[:1] - 1.0, 0.5 * (ordered[1:] + ordered[:-1]), ordered[-1:] + 1.0])
    learner.cfg.kl_bound = bounds[len(ordered) - closed].item()  # type: ignore[attr-defined]
    gate = terms()[1] <= 0.7 * learner.cfg.kl_bound  # type: ignore[attr-defined]
    assert (~gate).sum() == closed

    before = copy.deepcopy(model.actor.state_dict())
    torch.manual_seed(7)
    metrics = learner._actor_step(batch, old_steps)
    model.actor.load_state_dict(before)

    def loss() -> Tensor:
        inside, outside = terms()
        return torch.stack([i if g else o for i, o, g in zip(inside, outside, gate, strict=True)]).mean()

    torch.testing.assert_close(metrics["actor"], loss().detach())
    assert metrics["gated_share"].item() == pytest.approx(closed / len(ordered))
    assert_stored_gradients_match(loss, model.actor)


def _residual_with_encoder() -> ActorCritic[Any]:
    model = actor_critic()
    model.actor = DiffusionPolicy(3, 2, 4, hidden_dims=(8, 8, 8), residual=True, encoder_dims=(6,))
    model.old_actor = copy.deepcopy(model.actor)
    torch.nn.init.normal_(model.actor.output_layer.weight)
    model.sync_old_actor()
    return model


@pytest.mark.parametrize("build", [actor_critic, gaussian_actor_critic, _residual_with_encoder])
@pytest.mark.parametrize("branches", ["split", "selected"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_computing_or_differentiating_selected_branches_changes_neither_loss_nor_gradient(
    build: Callable[[], ActorCritic[Any]], branches: Branches, share: float
) -> None:
    model = moved(build())
    learner, batch, old_steps = learner_and_batch(model)
    old = old_policy(learner, batch, old_steps)
    assert old is not None
    noise = model.actor.draw_noise(len(batch.actor_obs))
    # observations of an encoder that learns
    obs = batch.actor_obs.clone().requires_grad_()
    terms = ActorTerms(obs, batch.critic_obs, noise, old, torch.tensor(0.3), torch.tensor(0.7))
    kl = path_kl(model.actor, batch.actor_obs, old).detach()
    bound = {0.0: kl.max(), 0.5: kl.median(), 1.0: kl.min() - 1.0}[share].item()
    learned = [obs, *model.actor.parameters()]
    region = TrustRegion(bound, "closed_form", model.old_actor)
    one, both = (pathwise_objective(model.actor, model.critic, terms, region, each) for each in (branches, "both"))
    assert both.metrics["gated_share"].item() == pytest.approx(share, abs=0.1)
    torch.testing.assert_close(one.metrics, both.metrics)
    gradients = (torch.autograd.grad(o.loss, learned, materialize_grads=True) for o in (one, both))
    torch.testing.assert_close(next(gradients), next(gradients), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("estimator", ["closed_form", "mean_only", "log_ratio"])
def test_the_backward_pass_of_selected_branches_is_that_of_one_chain(estimator: str) -> None:
    model = moved(actor_critic())
    learner, batch, old_steps = learner_and_batch(model, kl_estimator=estimator)
    terms = learner._actor_terms(batch, old_steps, None, batch, learner._draw(len(batch.actions)))
    region = TrustRegion(0.1, estimator, model.old_actor)
    flops, gradients = [], []
    choices: tuple[Branches, ...] = ("selected", "both")
    for branches in choices:
        loss = pathwise_objective(model.actor, model.critic, terms, region, branches).loss
        with FlopCounterMode(display=False) as counter:
            gradients.append(torch.autograd.grad(loss, list(model.actor.parameters())))
        flops.append(counter.get_total_flops())
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
    assert flops[0] < 0.65 * flops[1]


def test_critic_step_descends_cross_entropy_plus_feature_prediction() -> None:
    model = actor_critic()
    learner, batch, _ = learner_and_batch(model, max_grad_norm=1e9, aux_loss_coef=0.5)
    valid = torch.rand(len(batch.targets)) < 0.6
    feature_valid = torch.rand(len(batch.targets)) < 0.6
    batch = batch._replace(target_valid=valid, features_valid=feature_valid)

    def loss() -> Tensor:
        out = model.critic(batch.critic_obs[valid], batch.actions[valid])
        code = model.critic.hl_gauss.encode(batch.targets[valid])
        value_loss = torch.nn.functional.cross_entropy(out.logits, code)
        out = model.critic(batch.critic_obs[feature_valid], batch.actions[feature_valid])
        error = torch.nn.functional.mse_loss(out.predicted_features, batch.next_features[feature_valid])
        return value_loss + 0.5 * error

    before = copy.deepcopy(model.critic.state_dict())
    learner._critic_step(batch)
    model.critic.load_state_dict(before)
    assert_stored_gradients_match(loss, model.critic)
