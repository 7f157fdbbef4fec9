# SPDX-License-Identifier: BSD-3-Clause
"""Every task of Isaac Lab 2.3 with feed-forward networks gets a TruDi configuration by one import line."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import pytest
from isaaclab_tasks.utils.hydra import hydra_task_config  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]

from trudi_rsl.algorithms import TruDiCfg
from trudi_rsl.config import task_preset
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.isaaclab import PPO_KEY, TRUDI_KEY
from trudi_rsl.hosts.isaaclab.registration import agent_key
from trudi_rsl.settings import algorithm_of_settings, settings_from_dict

TASKS = [name for name in gymnasium.registry if name.startswith("Isaac-") and "Point" not in name]
"""Isaac Lab's own; other tests register tasks of the point."""
WITH_PPO = [name for name in TASKS if PPO_KEY in gymnasium.spec(name).kwargs]


def test_exactly_the_tasks_with_a_configuration_for_rsl_rl_have_one_for_trudi() -> None:
    assert len(TASKS) == 168
    assert "Isaac-Velocity-Rough-G1-v0" in WITH_PPO
    assert [name for name in TASKS if TRUDI_KEY in gymnasium.spec(name).kwargs] == WITH_PPO


@pytest.mark.parametrize("task", WITH_PPO)
def test_the_tasks_configuration_is_one_that_trudi_and_rsl_rl_take_or_refused_with_the_reason(task: str) -> None:
    ppo = load_cfg_from_registry(task, PPO_KEY)
    # the only tasks with recurrent networks
    assert (ppo.policy.class_name == "ActorCriticRecurrent") == task.startswith("Isaac-Deploy-GearAssembly")
    if ppo.policy.class_name == "ActorCriticRecurrent":
        with pytest.raises(ConfigError, match=r"recurrent network \(ActorCriticRecurrent\)"):
            load_cfg_from_registry(task, TRUDI_KEY)
        return
    trudi = load_cfg_from_registry(task, TRUDI_KEY)
    values = trudi.to_dict()
    settings = TruDiCfg.from_dict(values["algorithm"])
    assert settings.gamma == task_preset(task, "isaaclab")["agent"]["algorithm"].get("gamma", ppo.algorithm.gamma)
    assert values["algorithm"]["class_name"] == "TruDi"
    assert values["policy"] == {"class_name": "DiffusionActorCritic.for_env(self.env)"}
    # If not set, RSL-RL uses the environment's groups named like the sets.
    assert "actor" not in (values["obs_groups"] or {}) and values["obs_groups"] == ppo.to_dict()["obs_groups"]


@pytest.mark.parametrize("algo", ["reppo", "dime"])
def test_trudis_relatives_differ_from_it_in_actor_or_constraint(algo: str) -> None:
    trudi, own = (load_cfg_from_registry("Isaac-Velocity-Rough-G1-v0", agent_key(a)).to_dict() for a in ("trudi", algo))
    settings = settings_from_dict({name: v for name, v in own.pop("algorithm").items() if name != "class_name"})
    assert algorithm_of_settings(settings.to_dict()) == algo
    assert settings.gamma == trudi.pop("algorithm")["gamma"]
    assert own.pop("experiment_name") == trudi.pop("experiment_name").replace("_trudi", f"_{algo}")
    assert repr(own) == repr(trudi)


def test_an_algorithm_that_needs_a_newer_rsl_rl_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"SPO needs rsl-rl-lib 5 .*; installed is 3"):
        load_cfg_from_registry("Isaac-Velocity-Rough-G1-v0", agent_key("spo"))


def test_overrides_on_the_command_line_reach_trudis_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, Any]] = []
    overrides = [
        *("env.scene.num_envs=5", "agent.max_iterations=7", "agent.algorithm.num_denoise_steps=3"),
        *("agent.algorithm.kl_bound=0.25", "agent.algorithm.actor_hidden_dims=[32,32]"),
        *("agent.algorithm.kl_chains=fresh", "hydra.run.dir=.", "hydra.output_subdir=null"),
        *("hydra/job_logging=disabled", "hydra/hydra_logging=disabled"),
    ]
    monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
    hydra_task_config("Isaac-Velocity-Rough-G1-v0", TRUDI_KEY)(lambda *cfgs: seen.append(cfgs))()
    [(env_cfg, agent_cfg)] = seen
    assert (env_cfg.scene.num_envs, agent_cfg.max_iterations) == (5, 7)
    settings = TruDiCfg.from_dict(agent_cfg.to_dict()["algorithm"])
    assert (settings.num_denoise_steps, settings.kl_bound, settings.kl_chains) == (3, 0.25, "fresh")
    assert settings.actor_hidden_dims == [32, 32]
