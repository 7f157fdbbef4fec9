# SPDX-License-Identifier: BSD-3-Clause
"""An environment that raises ends training with a checkpoint of what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner


class Raises(GymnasiumVecEnv):
    """Raises at one of its steps."""

    at = 0
    steps = 0
    error: BaseException = KeyError("no such contact")

    def step(self, actions: torch.Tensor) -> Any:
        self.steps += 1
        if self.steps == self.at:
            raise self.error
        return super().step(actions)


def run(folder: Path, at: int) -> OnPolicyRunner:
    env = Raises("InvertedPendulum-v5", 2)
    env.at = at
    runner = OnPolicyRunner(env, runner_cfg() | {"save_interval": 100}, str(folder), "cpu")
    with pytest.raises(KeyError, match="no such contact"):
        runner.learn(5)
    return runner


@pytest.mark.parametrize("step", [1, 2])
def test_the_iterations_before_the_error_are_kept_and_resume(
    step: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = run(tmp_path, 2 * runner_cfg()["num_steps_per_env"] + step)
    assert "model_1_rescued.pt" in capsys.readouterr().out
    kept = read_checkpoint(tmp_path / "model_1_rescued.pt")
    assert kept["iter"] == 1 and "env_state" not in kept, "the simulator is in the middle of a step"
    policy = runner.alg.get_policy().state_dict()
    assert all(torch.equal(value, policy[name]) for name, value in kept["actor_state_dict"].items())
    resumed = OnPolicyRunner(GymnasiumVecEnv("InvertedPendulum-v5", 2), runner_cfg(), None, "cpu")
    resumed.load(str(tmp_path / "model_1_rescued.pt"))
    assert resumed.next_iteration == 2


def test_nothing_is_kept_of_a_training_that_has_not_finished_an_iteration(tmp_path: Path) -> None:
    run(tmp_path, 1)
    assert not list(tmp_path.glob("*.pt"))


class WithoutTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [SystemExit("the simulator is shut down"), WithoutTextError()])
def test_a_simulator_that_leaves_or_raises_without_a_text_costs_no_iteration(
    error: BaseException, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = Raises("InvertedPendulum-v5", 2)
    env.at, env.error = runner_cfg()["num_steps_per_env"] + 1, error
    runner = OnPolicyRunner(env, runner_cfg() | {"save_interval": 100}, str(tmp_path), "cpu")
    with pytest.raises(type(error)):
        runner.learn(5)
    assert (tmp_path / "model_0_rescued.pt").exists()
    assert f"{type(error).__name__} (" in capsys.readouterr().out
