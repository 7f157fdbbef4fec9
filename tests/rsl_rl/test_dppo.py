# SPDX-License-Identifier: BSD-3-Clause
"""DPPO is PPO over denoising steps: with one of them PPO itself, with several a product of Gaussian ratios."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from rsl_rl.algorithms import PPO
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from tests.rsl_rl.small_policies import NUM_ACTIONS, NUM_ENVS, NUM_STEPS, built, collect, observations, state
from trudi_rsl.algorithms.policy_gradient import DPPO
from trudi_rsl.policies import DenoisingModel
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

pytestmark = pytest.mark.skipif(not PPO_MODELS, reason="RSL-RL 5 has the models and the storage")


def actor(num_denoise_steps: int) -> dict[str, Any]:
    return {"class_name": "trudi_rsl.policies:DenoisingModel", "num_denoise_steps": num_denoise_steps}


def perturbed(model: DenoisingModel, scale: float = 0.3) -> DenoisingModel:
    """Move all parameters, in place: an untrained control is zero."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


class GaussianOfOneStep(nn.Module):
    """The one denoising step of a model as RSL-RL's PPO takes a Gaussian: its start is part of the observation."""

    is_recurrent = False

    def __init__(self, model: DenoisingModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, obs: TensorDict, *_: Any, **__: Any) -> Tensor:
        step = self.model.actor.step_sizes()[0]
        x0 = obs["start"]
        control = self.model.actor.controls(self.model.actor_obs(obs), x0[None])[0]
        self.normal = Normal(x0 + step * (control - x0 / self.model.actor.prior_std**2), (2.0 * step).sqrt())
        return self.normal.mean

    def get_output_log_prob(self, actions: Tensor) -> Tensor:
        return self.normal.log_prob(actions).sum(-1)

    @property
    def output_distribution_params(self) -> tuple[Tensor, ...]:
        return self.normal.mean, self.normal.stddev.expand_as(self.normal.mean)

    @property
    def output_entropy(self) -> Tensor:
        return self.normal.entropy().expand_as(self.normal.mean).sum(-1)

    def get_kl_divergence(self, old: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> Tensor:
        return kl_divergence(Normal(old[0], old[1]), Normal(new[0], new[1])).sum(-1)

    def update_normalization(self, obs: TensorDict) -> None:
        self.model.update_normalization(obs)


@pytest.mark.parametrize("settings", [{}, {"schedule": "fixed", "entropy_coef": 0.05}], ids=str)
def test_with_one_denoising_step_the_update_is_ppos_on_the_same_gaussian(settings: dict[str, Any]) -> None:
    # up to RSL-RL 5.4 a normaliser moves within the rollout, whose densities could then not be evaluated again
    dppo = built(DPPO, actor(1) | {"obs_normalization": False}, **settings)
    perturbed(dppo.actor)  # type: ignore[arg-type]
    collect(dppo)
    twin, critic = GaussianOfOneStep(copy.deepcopy(dppo.actor)), copy.deepcopy(dppo.critic)  # type: ignore[arg-type]

    ours = dppo.storage
    assert ours.distribution_params is not None
    starts = ours.distribution_params[0][:, :, 0].clone()
    obs = TensorDict({"policy": ours.observations["policy"].clone(), "start": starts}, batch_size=[NUM_STEPS, NUM_ENVS])
    storage = RolloutStorage("rl", NUM_ENVS, NUM_STEPS, obs[0], [NUM_ACTIONS], "cpu")
    storage.observations = obs
    for name in ("actions", "values", "returns", "advantages"):
        setattr(storage, name, getattr(ours, name).clone())
    with torch.no_grad():
        twin(obs.flatten(0, 1))
        log_probs = twin.get_output_log_prob(storage.actions.flatten(0, 1))
        storage.actions_log_prob = log_probs.view(NUM_STEPS, NUM_ENVS, 1)
        storage.distribution_params = tuple(
            p.unflatten(0, (NUM_STEPS, NUM_ENVS)).clone() for p in twin.output_distribution_params
        )
    ppo = PPO(twin, critic, storage, num_mini_batches=3, **settings)  # type: ignore[arg-type]

    # at the old parameters the KL is 0 or a rounding error, which RSL-RL's adaptive learning rate distinguishes
    for model in (dppo.actor, twin.model):
        perturbed(model, 0.03)  # type: ignore[arg-type]
    before = state(dppo)
    losses = []
    for algorithm in (dppo, ppo):
        torch.manual_seed(3)
        losses.append(algorithm.update())
    for name in ("surrogate", "value", "entropy"):
        assert losses[0][name] == pytest.approx(losses[1][name], rel=1e-4, abs=1e-6)
    assert dppo.learning_rate == pytest.approx(ppo.learning_rate)
    expected = {name.replace("actor.model.", "actor."): value for name, value in state(ppo).items()}
    torch.testing.assert_close(state(dppo), expected, rtol=1e-4, atol=1e-5)
    weight = "actor.actor.score_network.output_layer.weight"
    assert (state(dppo)[weight] - before[weight]).abs().max() > 1e-3


def model_and_chains(num_denoise_steps: int) -> tuple[DenoisingModel, TensorDict, tuple[Tensor, ...]]:
    """Return a float64 model that has moved on since it drew chains at the observations."""
    obs = observations().double()
    model = DenoisingModel(
        obs, {"actor": ["policy"]}, "actor", NUM_ACTIONS, [8, 8], num_denoise_steps=num_denoise_steps
    )
    perturbed(model.double())
    with torch.no_grad():
        _, params = model.sample(model.actor_obs(obs))
    params = tuple(p.clone() for p in params)
    return perturbed(model, 0.1), obs, params


def kernels(model: DenoisingModel, obs: TensorDict, latents: Tensor) -> list[Normal]:
    """Return the current policy's density of each step ``x_{k+1}`` given ``x_k`` of latents ``[B, N+1, A]``."""
    steps, found = model.actor.step_sizes(), []
    for k, step in enumerate(steps):
        x = latents[:, k]
        control = model.actor.controls(model.actor_obs(obs), x[None], torch.tensor([k]))[0]
        found.append(Normal(x + step * (control - x / model.actor.prior_std**2), (2.0 * step).sqrt()))
    return found


def test_log_ratios_entropy_and_kl_are_those_of_each_steps_gaussian() -> None:
    model, obs, (latents, old_means, friction) = model_and_chains(4)
    old_steps = model.actor.weights[:, None] / (4 * friction[0])
    old = [Normal(old_means[:, k], (2.0 * step).sqrt()) for k, step in enumerate(old_steps)]
    new = kernels(model, obs, latents)
    by_hand = [
        (q.log_prob(latents[:, k + 1]) - p.log_prob(latents[:, k + 1])).sum(-1)
        for k, (p, q) in enumerate(zip(old, new, strict=True))
    ]
    with torch.no_grad():
        ratios = model.log_ratios(obs, latents[:, -1], (latents, old_means, friction))
        kl = model.get_kl_divergence((latents, old_means, friction), model.output_distribution_params)
        torch.testing.assert_close(ratios, torch.stack(by_hand, dim=1), rtol=1e-10, atol=1e-12)
        assert ratios.abs().min(0).values.max() > 1e-3
        expected = torch.stack([kl_divergence(p, q).sum(-1) for p, q in zip(old, new, strict=True)])
        torch.testing.assert_close(kl, expected.sum(0), rtol=1e-10, atol=1e-12)
        entropy = torch.stack([q.entropy().sum(-1).expand(NUM_ENVS) for q in new]).mean(0)
        torch.testing.assert_close(model.output_entropy, entropy, rtol=1e-10, atol=1e-12)
        # at the parameters that drew the actions, ratios are one and the KL is zero
        actions, params = model.sample(model.actor_obs(obs))
        ratios = model.log_ratios(obs, actions, params)
        torch.testing.assert_close(ratios, torch.zeros(NUM_ENVS, 4).double(), rtol=0, atol=1e-12)
        kl = model.get_kl_divergence(params, model.output_distribution_params)
        torch.testing.assert_close(kl, torch.zeros_like(kl), rtol=0, atol=1e-12)


def test_each_step_is_clipped_by_itself_and_shares_the_advantage_discounted_by_the_steps_that_follow() -> None:
    dppo = built(DPPO, actor(3), gamma_denoise=0.5, clip_param=0.2)
    ratio = torch.tensor([[1.0, 1.5, 0.5], [1.0, 1.5, 0.5]])
    loss = dppo.surrogate(ratio, torch.tensor([4.0, -4.0]))
    # advantages 1, 2, 4 towards the action
    torch.testing.assert_close(loss, torch.tensor([[-1.0, -2.4, -2.0], [1.0, 3.0, 3.2]]))


def test_its_deterministic_action_is_the_end_of_the_chain_without_noise() -> None:
    model, obs, _ = model_and_chains(4)
    with torch.no_grad():
        x = torch.zeros(NUM_ENVS, NUM_ACTIONS, dtype=torch.float64)
        for k in range(4):
            x = kernels(model, obs, x[:, None].expand(-1, 5, -1))[k].mean
        torch.testing.assert_close(model(obs), x)
        torch.testing.assert_close(model.act(obs, "ode"), x)
        torch.testing.assert_close(model.deployable().double()(obs["policy"]), x)
        assert not torch.allclose(model.act(obs, "ode", initial_latent="random"), x)
        assert not torch.allclose(model(obs, stochastic_output=True), model.act(obs, "sde"))


def test_a_ppo_configuration_becomes_dppos_by_its_class_name() -> None:
    with pytest.warns(UserWarning, match=r"actor\.distribution_cfg: prior_std=0\.7"):
        dppo = built(DPPO)
    model = dppo.get_policy()
    assert isinstance(model, DenoisingModel)
    assert (model.actor.prior_std, model.actor.num_steps) == (0.7, 8)
    assert model.actor.score_network.input_layer.out_features == 16
    assert model.actor_obs.has_statistics
