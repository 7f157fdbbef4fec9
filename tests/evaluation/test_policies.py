# SPDX-License-Identifier: BSD-3-Clause
"""Policies from checkpoints act as asked, and what cannot work is refused."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from tests.evaluation.tiny_runs import TASK, train_tiny
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.config import load_params
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.policies import Algorithm, load_policy, policy_for
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.rsl_rl_compat.models import policy_of as policy_model
from trudi_rsl.runners import OnPolicyRunner


@pytest.fixture
def env() -> VecEnv:
    return make_env(TASK, {"num_envs": 2})


@pytest.fixture
def obs() -> TensorDict:
    return TensorDict({"policy": torch.randn(256, 4)}, batch_size=[256])


def policy_of(path: Path, algorithm: Algorithm, env: VecEnv, **sampler: Any) -> Any:
    return load_policy(
        path, algorithm, env, load_params(path.parent).agent, SamplerCfg(**sampler), "cpu", OnPolicyRunner
    )


def test_the_ode_from_zeros_is_deterministic_from_random_latents_is_not_and_obeys_the_score_scale(
    trudi_checkpoint: Path, env: VecEnv, obs: TensorDict
) -> None:
    zeros = policy_of(trudi_checkpoint, "trudi", env, sampler="ode", initial_latent="zeros")
    random = policy_of(trudi_checkpoint, "trudi", env, sampler="ode")
    assert torch.equal(zeros(obs), zeros(obs))
    assert not torch.equal(random(obs), random(obs))
    scaled = [policy_of(trudi_checkpoint, "trudi", env, initial_latent="zeros", score_scale=c)(obs) for c in (1.0, 2.0)]
    assert torch.equal(scaled[0], zeros(obs))
    assert not torch.allclose(scaled[1], scaled[0])


@pytest.mark.parametrize(
    ("algorithm", "starts"), [("trudi", (None, "zeros")), ("fpo", (None, "random")), ("reppo", (None,))]
)
def test_what_play_prints_of_a_sampler_says_whether_its_start_is_drawn(
    algorithm: Any, starts: tuple[Any, ...], env: VecEnv, obs: TensorDict, tmp_path: Path
) -> None:
    checkpoint = train_tiny(algorithm, tmp_path / "run")
    for start in starts:
        policy = policy_of(checkpoint, algorithm, env, initial_latent=start)
        printed = {True: "ode from random starts", False: "ode" if algorithm == "reppo" else "ode from zeros"}
        is_drawn = not torch.equal(policy(obs), policy(obs))
        assert SamplerCfg(initial_latent=start).describe(algorithm) == printed[is_drawn]


@pytest.mark.parametrize("algorithm", ["trudi", "reppo", "fpo"])
@pytest.mark.parametrize("start", ["zeros", "random", None])
def test_a_frozen_policy_acts_as_its_model_did_when_it_was_made(
    algorithm: Any, start: Any, obs: TensorDict, tmp_path: Path
) -> None:
    env = make_env(TASK, {"num_envs": 2})
    cfg: Any = OmegaConf.to_container(load_params(train_tiny(algorithm, tmp_path / "run").parent).agent)
    runner = OnPolicyRunner(env, cfg, None, "cpu")
    model: Any = policy_model(runner.alg)
    sampler = SamplerCfg(initial_latent=start if algorithm != "reppo" else None)
    frozen, acts = policy_for(runner.alg, sampler), []
    for policy in (frozen, functools.partial(model.act, sampler="ode", **sampler.options())):
        torch.manual_seed(0)
        acts.append(torch.stack([policy(obs), policy(obs)]))
    torch.testing.assert_close(*acts)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    torch.manual_seed(0)
    assert torch.equal(torch.stack([frozen(obs), frozen(obs)]), acts[0])


def test_more_candidates_give_actions_of_larger_q(trudi_checkpoint: Path, env: VecEnv, obs: TensorDict) -> None:
    critic, _ = load_actor_critic(trudi_checkpoint)

    def mean_q(num_candidates: int) -> float:
        policy = policy_of(trudi_checkpoint, "trudi", env, sampler="best_of_k", num_candidates=num_candidates)
        return critic.evaluate(obs, policy(obs)).mean().item()

    single = policy_of(trudi_checkpoint, "trudi", env, sampler="sde")
    assert mean_q(32) > mean_q(4) > mean_q(1)
    assert mean_q(1) == pytest.approx(critic.evaluate(obs, single(obs)).mean().item(), rel=0.05)


def test_ppo_takes_its_mean_with_ode_and_samples_around_it_with_sde(
    ppo_checkpoint: Path, env: VecEnv, obs: TensorDict
) -> None:
    mean, sample = (policy_of(ppo_checkpoint, "ppo", env, sampler=s) for s in ("ode", "sde"))
    assert torch.equal(mean(obs), mean(obs))
    draws = torch.stack([sample(obs) for _ in range(400)])
    assert draws.std(0).min() > 0.5
    assert torch.allclose(draws.mean(0), mean(obs), atol=0.3)
    saved = torch.load(ppo_checkpoint, weights_only=False)["actor_state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in mean.state_dict().items())


def test_reppo_takes_its_mean_with_ode_samples_with_sde_and_chooses_by_its_critic(
    reppo_checkpoint: Path, env: VecEnv, obs: TensorDict
) -> None:
    mean, sample = (policy_of(reppo_checkpoint, "reppo", env, sampler=s) for s in ("ode", "sde"))
    model, _ = load_actor_critic(reppo_checkpoint)
    torch.testing.assert_close(mean(obs), model.act_inference(obs))
    assert not torch.equal(sample(obs), sample(obs))
    best = policy_of(reppo_checkpoint, "reppo", env, sampler="best_of_k", num_candidates=32)
    assert model.evaluate(obs, best(obs)).mean() > model.evaluate(obs, sample(obs)).mean()


def test_a_policy_is_refused_by_an_environment_of_another_shape(trudi_checkpoint: Path, ppo_checkpoint: Path) -> None:
    other = make_env("Hopper-v5", {"num_envs": 1})
    with pytest.raises(CheckpointError, match=r"reads 4 numbers of observation group 'policy', the task has 11"):
        policy_of(trudi_checkpoint, "trudi", other)
    with pytest.raises(CheckpointError):
        policy_of(ppo_checkpoint, "ppo", other)


def test_a_trudi_policy_needs_nothing_but_its_checkpoint(
    trudi_checkpoint: Path, env: VecEnv, obs: TensorDict, tmp_path: Path
) -> None:
    alone = Path(shutil.copy(trudi_checkpoint, tmp_path))
    policy = load_policy(alone, "trudi", env, {}, SamplerCfg(initial_latent="zeros"), "cpu", OnPolicyRunner)
    trained, _ = load_actor_critic(trudi_checkpoint)
    torch.testing.assert_close(policy(obs), trained(obs))
