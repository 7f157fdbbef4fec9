# SPDX-License-Identifier: BSD-3-Clause
"""Commands that play policies: tasks without an end, tasks that have moved, and the ways to name a run."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from tests.evaluation.tiny_runs import TASK, train_tiny
from tests.scripts.running import table_rows
from trudi_rsl import task_names
from trudi_rsl.commands.program import run
from trudi_rsl.evaluation import policies

ENDLESS = "tests.hosts.gymnasium_tasks:trudi-tests/Clock-v0"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment folder with one run of TruDi."""
    folder = tmp_path_factory.mktemp("experiments") / "pendulum"
    train_tiny("trudi", folder / "2026-01-01_00-00-00")
    return folder


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a task whose episodes never end."""
    return train_tiny("trudi", tmp_path_factory.mktemp("endless") / "run", ENDLESS).parent


@pytest.mark.parametrize("flags", [[], ["--every_checkpoint"]], ids=["play", "every_checkpoint"])
def test_a_task_without_a_time_limit_is_cut_after_a_default_one_which_is_said(
    flags: list[str], endless: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(policies, "STEP_LIMIT", 12)
    assert run("play", ["--checkpoint", str(endless), "--episodes", "2", *flags]) == 0
    printed = capsys.readouterr().out
    assert "has no time limit: episodes are cut after 12 steps. env.max_episode_steps=N sets another" in printed
    assert "78.00" in table_rows(printed)[-1], "1 + 2 + .. + 12"
    assert run("play", ["--checkpoint", str(endless), "--episodes", "1", *flags, "env.max_episode_steps=3"]) == 0
    printed = capsys.readouterr().out
    assert "no time limit" not in printed and "6.00" in table_rows(printed)[-1]


@pytest.mark.parametrize(
    "named", ["", pytest.param("2026-01-01_00-00-00", marks=pytest.mark.nightly), "2026-01-01_00-00-00/model_1.pt"]
)
def test_play_and_plot_take_a_checkpoint_a_run_or_an_experiment(
    named: str, experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("play", ["--checkpoint", str(experiment / named), "--episodes", "1"]) == 0
    assert f"Returns on {TASK}, trudi" in capsys.readouterr().out
    assert run("plot", [str(experiment / named)]) == 0
    picture = Path(capsys.readouterr().out.removeprefix("Learning curve: ").strip())
    assert picture.stat().st_size > 0 and picture.is_relative_to(experiment)
    assert run("doctor", [str(experiment / named)]) == 0


def test_without_a_task_and_a_path_play_asks_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in ([], ["--checkpoint", "model_1.pt"]):
        assert run("play", flags) == 2
        assert "--task" in capsys.readouterr().err


def test_checkpoints_of_a_task_that_has_moved_are_those_of_its_new_name(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(task_names, "_present_names", {})
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(gym, "registry", {**gym.registry})
    task = "from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv\n"
    task += "import gymnasium\ngymnasium.register('Moved-v5', InvertedPendulumEnv, max_episode_steps=9)\n"
    for module in ("before", "after"):
        (tmp_path / f"{module}.py").write_text(task)
    folder = train_tiny("trudi", tmp_path / "run", "before:Moved-v5").parent
    (tmp_path / "before.py").unlink()
    sys.modules.pop("before")
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)

    arguments = ["--task", "after:Moved-v5", "--checkpoint", str(folder), "--episodes", "1"]
    assert run("play", arguments) == 2
    error = capsys.readouterr().err
    assert "add --task_was before:Moved-v5" in error
    assert run("play", [*arguments, "--task_was", "before:Moved-v5"]) == 0
    monkeypatch.setattr(task_names, "_present_names", {})
    assert run("evaluate", [str(folder), "--episodes", "1", "--task_was", "before:Moved-v5=after:Moved-v5"]) == 0
    assert "after:Moved-v5" in capsys.readouterr().out
    assert run("evaluate", [str(folder), "--task_was", "before:Moved-v5"]) == 2
    assert "write before:Moved-v5=NEW" in capsys.readouterr().err


def test_printed_tables_fit_80_columns(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    flags = ["--episodes", "2", "--sampler", "ode", "sde", "--score_scale", "0.5", "1"]
    assert run("evaluate", [str(experiment), *flags]) == 0
    printed = capsys.readouterr().out
    assert TASK in printed and "sde" in printed.lower()
    assert max(map(len, printed.splitlines())) <= 80
