# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's RNNModel in a project whose PPO is swapped, under its own runner and ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rsl_rl.runners import OnPolicyRunner as StockRunner

from tests.rsl_rl.image_env import TINY
from tests.rsl_rl.memory_env import GRU, LSTM, NUM_ENVS, MemoryEnv, ppo_cfg, state
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.config.swap import trudi_cfg
from trudi_rsl.evaluation.episodes import start_episodes
from trudi_rsl.evaluation.policies import load_policy
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

pytestmark = pytest.mark.skipif(not PPO_MODELS, reason="the sections of RSL-RL 5")


@pytest.mark.parametrize("runner_class", [StockRunner, OnPolicyRunner], ids=["stock", "ours"])
def test_a_recurrent_ppo_project_trains_after_one_changed_line(runner_class: Any, tmp_path: Path) -> None:
    cfg = ppo_cfg("trudi_rsl.algorithms:TruDi", **TINY)
    runner = runner_class(MemoryEnv(), cfg, str(tmp_path), "cpu")
    model = runner.alg.actor_critic
    assert model.is_recurrent and model.critic_obs.has_statistics, "the section of the critic says so"
    before = state(runner.alg)
    runner.learn(1)
    after = state(runner.alg)
    for name in (
        "actor_obs.model.rnn.rnn.weight_hh_l0",
        "critic_obs.model.rnn.rnn.weight_hh_l1",
        "memory of the actor",
    ):
        assert not torch.equal(before[name], after[name])
    rebuilt, spec = load_actor_critic(tmp_path / "model_0.pt")
    assert spec["settings"]["actor_encoder"] == GRU
    policy = runner.get_inference_policy()
    sampler = SamplerCfg("ode", initial_latent="zeros")
    played = load_policy(tmp_path / "model_0.pt", "trudi", MemoryEnv(), {}, sampler, "cpu", runner_class)
    resets = [start_episodes(MemoryEnv(), actor, "cpu")[1] for actor in (policy, rebuilt, played)]
    kept = runner.alg.memory.states["actor"].clone()
    with torch.inference_mode():
        for _ in range(3):
            obs, dones = MemoryEnv().get_observations(), torch.tensor([0, 1, 0, 1])
            torch.testing.assert_close(rebuilt(obs), expected := policy(obs))
            torch.testing.assert_close(played(obs), expected)
            for reset in resets:
                reset(dones)
            remembered = model.actor_obs.hidden_state
            assert not remembered[:, :, [1, 3]].any() and remembered[:, :, [0, 2]].any()
    assert torch.equal(kept, runner.alg.memory.states["actor"]), "training has a memory of its own"
    with pytest.raises(ValueError, match=rf"remembers {NUM_ENVS} environments and got observations of 2.*reset\(\)"):
        policy(MemoryEnv().get_observations()[:2])


def test_the_written_out_configuration_trains_with_as_many_minibatches_as_environments_allow() -> None:
    cfg = trudi_cfg(ppo_cfg("PPO") | {"num_steps_per_env": 128}, MemoryEnv())
    section = cfg["algorithm"]
    assert section["actor_encoder"] == GRU and section["critic_encoder"] == LSTM | {"obs_normalization": True}
    assert section["num_mini_batches"] == NUM_ENVS
    section |= {"compile": "off", "num_learning_epochs": 1}
    StockRunner(MemoryEnv(), cfg, None, "cpu").learn(1)
