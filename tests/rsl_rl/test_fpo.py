# SPDX-License-Identifier: BSD-3-Clause
"""FPO's flow, its matching loss and its ratio against independent formulas."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from tests.rsl_rl.small_policies import NUM_ACTIONS, NUM_ENVS, built, collect, observations
from trudi_rsl.algorithms.policy_gradient import FPO
from trudi_rsl.diffusion.flow import euler_path, interpolate, matching_losses
from trudi_rsl.policies import FlowModel
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

needs_models = pytest.mark.skipif(not PPO_MODELS, reason="RSL-RL 5 has the models and the storage")

SAMPLES = 5


def test_euler_on_a_linear_field_is_its_closed_form_and_tends_to_the_exponential() -> None:
    torch.manual_seed(0)
    matrix, bias = torch.randn(3, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    start = torch.randn(4, 3, dtype=torch.float64)
    identity = torch.eye(3, dtype=torch.float64)
    # x' = M x + b is (x + M^-1 b)' = M (x + M^-1 b)
    shift = torch.linalg.solve(matrix, bias)
    exact = (start + shift) @ torch.linalg.matrix_exp(matrix).T - shift
    errors = []
    for num_steps in (10, 1000, 2000):
        end = euler_path(lambda x, _: x @ matrix.T + bias, start, num_steps)[-1]
        powers = torch.linalg.matrix_power(identity + matrix / num_steps, num_steps)
        torch.testing.assert_close(end, (start + shift) @ powers.T - shift, rtol=1e-10, atol=1e-12)
        errors.append((end - exact).abs().max().item())
    # of first order
    assert errors[2] == pytest.approx(errors[1] / 2.0, rel=0.01)


def test_euler_evaluates_the_field_at_the_beginning_of_each_step() -> None:
    steps: list[int] = []

    def field(x: Tensor, k: int) -> Tensor:
        steps.append(k)
        return torch.full_like(x, float(k))

    assert euler_path(field, torch.zeros(1), 4)[-1].item() == (0 + 1 + 2 + 3) / 4
    assert steps == [0, 1, 2, 3]


def test_the_path_leads_straight_from_noise_to_the_action_at_the_velocity_that_the_loss_asks_for() -> None:
    actions, noise = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    times = torch.rand(6, dtype=torch.float64)
    torch.testing.assert_close(interpolate(actions, noise, torch.zeros_like(times)), noise)
    torch.testing.assert_close(interpolate(actions, noise, torch.ones_like(times)), actions)
    later = interpolate(actions, noise, times + 1e-6)
    velocity = (later - interpolate(actions, noise, times)) / 1e-6
    torch.testing.assert_close(matching_losses(velocity, actions, noise), torch.zeros(6).double(), rtol=0, atol=1e-12)


def model_and_draws() -> tuple[FlowModel, TensorDict, Tensor, tuple[Tensor, ...]]:
    """Return a float64 model, observations, and actions of it with what it stores of them."""
    torch.manual_seed(4)
    obs = observations().double()
    model = FlowModel(
        obs, {"actor": ["policy"]}, "actor", NUM_ACTIONS, [8, 8], num_flow_steps=4, num_matching_samples=SAMPLES
    ).double()
    moved(model)
    with torch.no_grad():
        actions, params = model.sample(model.actor_obs(obs))
    return model, obs, actions, tuple(p.double() for p in params)


def moved(model: FlowModel, scale: float = 0.3) -> FlowModel:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def velocity(model: FlowModel, obs: Tensor, x: Tensor, time: float) -> Tensor:
    """Return the velocity ``[A]`` at one point from the network's layers, its inputs side by side."""
    net = model.actor.velocity_network
    embedding = net.time_embedding
    angle = time * embedding.frequencies + embedding.phase
    features = embedding.mlp(torch.cat([angle.sin(), angle.cos()]))
    return net.output_layer(net.trunk(net.input_layer(torch.cat([x, obs, features]))))


@torch.no_grad()
def test_the_matching_loss_is_its_formula_at_every_draw() -> None:
    model, obs, actions, (times, noise, stored) = model_and_draws()
    for i in range(NUM_ENVS):
        for j in range(SAMPLES):
            t, e, a = times[i, j].item(), noise[i, j], actions[i]
            v = velocity(model, model.actor_obs(obs)[i], (1.0 - t) * e + t * a, t)
            assert stored[i, j].item() == pytest.approx(sum((v - (a - e)).tolist()[d] ** 2 for d in range(NUM_ACTIONS)))


@torch.no_grad()
def test_the_ratio_is_one_at_the_old_parameters_and_the_exponential_of_the_fall_of_the_loss_elsewhere() -> None:
    model, obs, actions, params = model_and_draws()
    ratio = model.log_ratios(obs, actions, params).exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0, atol=1e-12)
    moved(model, 0.05)
    losses = model.actor.matching_losses(model.actor_obs(obs), actions, *params[:2])
    ratio = model.log_ratios(obs, actions, params).exp()
    torch.testing.assert_close(ratio, (params[2].mean(-1) - losses.mean(-1)).exp())
    assert (ratio - 1.0).abs().max() > 1e-3


@torch.no_grad()
def test_actions_are_where_the_flow_carries_the_noise_and_deterministic_ones_where_it_carries_zeros() -> None:
    model, obs, *_ = model_and_draws()
    actor_obs = model.actor_obs(obs)
    for start, actions in (
        (torch.zeros(NUM_ENVS, NUM_ACTIONS).double(), model(obs)),
        (torch.randn(NUM_ENVS, NUM_ACTIONS).double(), None),
    ):
        reached = []
        for i in range(NUM_ENVS):
            x = start[i]
            for k in range(4):
                x = x + 0.25 * velocity(model, actor_obs[i], x, k / 4)
            reached.append(x)
        given = model.deterministic_actions(actor_obs, start=start) if actions is None else actions
        torch.testing.assert_close(given, torch.stack(reached), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(model.deployable().double()(obs["policy"]), model(obs))
    assert not torch.allclose(model.act(obs, "sde"), model(obs))


@needs_models
@pytest.mark.filterwarnings("ignore:FPO has neither")
def test_an_update_makes_good_actions_more_likely_by_the_matching_loss() -> None:
    fpo = built(FPO, {}, learning_rate=3e-3, num_learning_epochs=10)
    collect(fpo)
    batch = next(fpo.storage.mini_batch_generator(1, 1))
    assert batch.advantages is not None
    losses = fpo.update()
    assert losses.keys() == {"value", "surrogate", "ratio_deviation", "skipped_updates"}
    with torch.no_grad():
        ratios = fpo.log_ratios(batch)
    advantages = batch.advantages.squeeze(-1)
    good, bad = ratios[advantages > 0.5].mean(), ratios[advantages < -0.5].mean()
    assert good > 0.01 > -0.01 > bad


@needs_models
def test_what_has_no_closed_form_is_ignored_with_one_warning_that_names_it() -> None:
    with pytest.warns(UserWarning, match="ignores schedule: adaptive and entropy_coef; the learning rate stays 0.002"):
        fpo = built(FPO, {}, learning_rate=2e-3)
    collect(fpo)
    fpo.update()
    assert fpo.learning_rate == fpo.optimizer.param_groups[0]["lr"] == 2e-3
