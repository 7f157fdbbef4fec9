# SPDX-License-Identifier: BSD-3-Clause
"""The training loop calls its hooks in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.deploy.drift import DriftEnv, runner_cfg
from tests.rsl_rl.helpers import runner_cfg as small_cfg
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import Hook, OnPolicyRunner


class Recorder(Hook):
    """Records what is called, and adds a metric."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_start(self, runner: Any) -> None:
        self.calls.append("start")

    def after_step(self, runner: Any) -> None:
        self.calls.append("step")

    def after_rollout(self, runner: Any) -> None:
        self.calls.append(f"rollout, buffer at {runner.alg.storage.step}")

    def after_update(self, runner: Any, metrics: dict[str, float]) -> None:
        self.calls.append(f"update {runner.current_learning_iteration}")
        metrics["of_the_hook"] = 3.0

    def on_checkpoint(self, runner: Any, path: Path) -> None:
        assert path.is_file()
        self.calls.append(path.name)

    def on_end(self, runner: Any) -> None:
        self.calls.append("end")


def test_hooks_are_called_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = runner_cfg() | {"num_steps_per_env": 4, "save_interval": 2, "verbose": True}
    runner = OnPolicyRunner(DriftEnv(), cfg, str(tmp_path), "cpu")
    runner.hooks.append(hook := Recorder())
    runner.learn(2)
    rollout = ["step"] * 4 + ["rollout, buffer at 4"]
    assert hook.calls == ["start", *rollout, "update 0", "model_0.pt", *rollout, "update 1", "model_1.pt", "end"]
    assert "of_the_hook" in capsys.readouterr().out
    hook.calls.clear()
    runner.save(str(tmp_path / "model_1.pt"))
    assert hook.calls == ["model_1.pt"]


def test_hooks_end_when_training_fails(tmp_path: Path) -> None:
    class Failing(DriftEnv):
        def step(self, actions: torch.Tensor) -> Any:
            raise NonFiniteError("NaN.")

    runner = OnPolicyRunner(Failing(), runner_cfg(), str(tmp_path), "cpu")
    runner.hooks.append(hook := Recorder())
    with pytest.raises(NonFiniteError, match=r"model_0_rescued\.pt"):
        runner.learn(2)
    assert hook.calls == ["start", "model_0_rescued.pt", "end"]


def test_episodes_continue_only_where_a_load_restores_them(tmp_path: Path) -> None:
    def runner(num_envs: int) -> OnPolicyRunner:
        return OnPolicyRunner(GymnasiumVecEnv("HalfCheetah-v5", num_envs), small_cfg(), None, "cpu")

    runner(4).save(path := str(tmp_path / "model_0.pt"))
    for num_envs, load_cfg, continues in ((4, None, True), (5, None, False), (4, {"actor": True}, False)):
        resumed = runner(num_envs)
        assert not resumed.episodes_continue
        resumed.load(path, load_cfg)
        assert resumed.episodes_continue == continues
