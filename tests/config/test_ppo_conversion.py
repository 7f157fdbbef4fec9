# SPDX-License-Identifier: BSD-3-Clause
"""What TruDi takes over from a task's PPO configuration."""

import pytest

from trudi_rsl.config import task_preset
from trudi_rsl.config.ppo_conversion import trudi_settings
from trudi_rsl.errors import ConfigError

PPO = {
    "num_steps_per_env": 24,
    "max_iterations": 3000,
    "experiment_name": "mine",
    "obs_groups": {"policy": ["policy"], "critic": ["policy", "privileged"]},
    "algorithm": {"class_name": "PPO", "gamma": 0.995, "learning_rate": 1.0e-2, "clip_param": 0.2, "rnd_cfg": None},
}


@pytest.mark.parametrize("task", ["My-Robot-Walk-v0", "PushCube-v1", "h1-walk-v0", "Isaac-Ant"])
def test_a_task_without_a_preset_keeps_its_gamma_its_groups_and_its_budget(task: str) -> None:
    settings = trudi_settings(task, PPO, "isaaclab")
    steps = settings["num_steps_per_env"]
    assert steps == task_preset("Isaac-Ant", "isaaclab")["agent"]["num_steps_per_env"] > 24
    assert 0 <= settings["max_iterations"] * steps - 3000 * 24 < steps
    assert settings["algorithm"]["gamma"] == 0.995
    assert settings["algorithm"]["value_range"] == "auto"
    assert settings["algorithm"]["learning_rate"] != 1.0e-2
    assert settings["obs_groups"] == {"actor": ["policy"], "critic": ["policy", "privileged"]}


def test_longer_rollouts_of_the_task_stay() -> None:
    settings = trudi_settings("Isaac-Ant", PPO | {"num_steps_per_env": 100}, "isaaclab")
    assert (settings["num_steps_per_env"], settings["max_iterations"]) == (100, 3000)


def test_a_task_of_the_paper_gets_the_papers_settings() -> None:
    settings = trudi_settings("Isaac-Velocity-Rough-G1", PPO, "isaaclab")
    preset = task_preset("Isaac-Velocity-Rough-G1", "isaaclab")["agent"]
    assert settings["max_iterations"] == preset["max_iterations"]
    assert {k: settings["algorithm"][k] for k in preset["algorithm"]} == preset["algorithm"]


def test_what_changed_and_what_is_ignored_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        trudi_settings("Isaac-Said-Once", PPO, "isaaclab")
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    for words in ("num_steps_per_env 64 (PPO: 24)", "max_iterations 1125 (PPO: 3000)", "clip_param"):
        assert words in said
    assert "rnd_cfg" not in said
    assert "gamma" not in said


def test_distillation_is_refused() -> None:
    with pytest.raises(ConfigError, match="distillation"):
        trudi_settings("Isaac-Ant", PPO | {"class_name": "DistillationRunner"}, "isaaclab")
