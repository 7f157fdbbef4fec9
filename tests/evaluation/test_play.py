# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of a run are compared on equal terms, and ``best.pt`` names the best of them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tensordict import TensorDict
from torch import Tensor

from tests.evaluation.counting_tasks import AIM, SHORT_OR_LONG
from tests.scripts.running import table_rows
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.episodes import Policy, evaluate
from trudi_rsl.evaluation.play import Score, results_table, score, select_best
from trudi_rsl.evaluation.statistics import Summary, summarize
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv

TOO_LARGE = 0.9


class HostLike(GymnasiumVecEnv):
    """What Isaac Lab's environments do and Gymnasium's do not: count steps, here into the reward, and pass NaN on."""

    common_step_counter = 70

    @property
    def unwrapped(self) -> Any:
        """Where the counter is."""
        return self

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Step all environments; actions that are too large give NaN."""
        obs, rewards, dones, extras = super().step(actions)
        self.common_step_counter += 1
        rewards = rewards + self.common_step_counter
        return obs, torch.where(actions[:, 0] > TOO_LARGE, torch.nan, rewards), dones, extras


def always(action: float) -> Policy:
    return lambda obs: torch.full((obs.batch_size[0], 1), action)


def loader(actions: dict[int, float]) -> Callable[[Path], Policy]:
    """Return a function that loads a policy of one constant action, ``actions[iteration]``."""
    return lambda path: always(actions[int(path.stem.removeprefix("model_"))])


def written(folder: Path, *iterations: int) -> list[Path]:
    files = [folder / f"model_{iteration}.pt" for iteration in iterations]
    for file in files:
        file.touch()
    return files


@pytest.mark.parametrize("task_env", [GymnasiumVecEnv, HostLike])
def test_the_best_is_the_one_with_the_highest_mean_return_and_not_the_newest(
    task_env: type[GymnasiumVecEnv], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "best.pt").symlink_to("model_100.pt")
    checkpoints = written(tmp_path, 0, 50, 100)
    env = task_env(AIM, 2)
    best = select_best(env, checkpoints, loader({0: -0.5, 50: 0.5, 100: 0.0}), 4, 3, "Aim, seed 3")
    assert best == checkpoints[1]
    assert (tmp_path / "best.pt").readlink() == Path("model_50.pt")
    output = capsys.readouterr().out
    assert "Returns on Aim, seed 3:" in output
    assert output.splitlines()[-1] == f"Best: {best}, which best.pt now names."
    table = table_rows(output)
    assert [[row[0], *row[-2:]] for row in table] == [["0", "0 %", ""], ["50", "100 %", "best"], ["100", "0 %", ""]]
    # of equal ones the earliest
    assert select_best(GymnasiumVecEnv(AIM, 2), checkpoints, loader({0: 0.0, 50: 0.5, 100: 0.5}), 2, 0, "") == best


def test_every_checkpoint_gets_the_same_starts_and_the_same_noise(tmp_path: Path) -> None:
    def noisy(obs: TensorDict) -> Tensor:
        return torch.randn(obs.batch_size[0], 1)

    checkpoints = written(tmp_path, 0, 1, 2)
    policies: dict[Path, Policy] = dict(zip(checkpoints, (noisy, always(0.3), noisy), strict=True))
    scores = score(GymnasiumVecEnv(AIM, 3, seed=1), checkpoints, policies.__getitem__, 7, seed=5, progress=False)
    alone = GymnasiumVecEnv(AIM, 3, seed=5)
    torch.manual_seed(5)
    expected = evaluate(alone, noisy, 7, progress=False)
    assert scores[0].returns == scores[2].returns == summarize(expected.returns)
    assert scores[1].returns != scores[0].returns


def test_curricula_are_restored_for_every_checkpoint(tmp_path: Path) -> None:
    checkpoints = written(tmp_path, 0, 1)
    env = HostLike(AIM, 2)
    first, second = score(env, checkpoints, loader({0: 0.5, 1: 0.5}), 4, seed=0, progress=False)
    assert env.common_step_counter > HostLike.common_step_counter
    assert first.returns == second.returns


def test_a_task_without_success_has_no_column_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = GymnasiumVecEnv(SHORT_OR_LONG, 2)
    select_best(env, written(tmp_path, 0), loader({0: 0.0}), 2, 0, "a silent task")
    (row,) = table_rows(capsys.readouterr().out)
    assert row == ["0", "8.50", "9.19", "8.50", "2", "best"]


def test_checkpoints_that_cannot_be_played_are_skipped_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(path: Path) -> Policy:
        if path.name == "model_0.pt":
            raise CheckpointError("It is of another task.")
        return always({"model_1.pt": math.nan, "model_2.pt": 0.5}[path.name])

    checkpoints = written(tmp_path, 0, 1, 2)
    assert select_best(GymnasiumVecEnv(AIM, 2), checkpoints, load, 2, 0, "") == checkpoints[2]
    output = capsys.readouterr().out
    assert "model_0.pt was skipped: It is of another task." in output
    assert re.search(r"model_1.pt was skipped: \S+: the policy's action\S* is nan", output)
    assert [row[0] for row in table_rows(output)] == ["2"]


def test_a_return_that_is_nan_is_never_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = written(tmp_path, 0, 1)
    assert select_best(HostLike(AIM, 2), checkpoints, loader({0: 1.0, 1: -1.0}), 2, 0, "") == checkpoints[1]
    assert table_rows(capsys.readouterr().out)[0][1] == "nan"
    (tmp_path / "best.pt").unlink()
    with pytest.raises(CheckpointError, match="has a finite mean return, so none is the best"):
        select_best(HostLike(AIM, 2), checkpoints, loader({0: 1.0, 1: 1.0}), 2, 0, "")
    assert not (tmp_path / "best.pt").is_symlink()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_a_best_that_is_not_a_link_is_kept_with_a_message(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "best.pt")
    checkpoints = written(tmp_path, 0)
    assert select_best(GymnasiumVecEnv(AIM, 2), checkpoints, loader({0: 0.0}), 2, 0, "") == checkpoints[0]
    assert not (tmp_path / "best.pt").is_symlink()
    assert "best.pt beside it is no link but a file of its own, and was kept." in capsys.readouterr().out


def test_a_message_reports_that_no_link_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError

    checkpoints = written(tmp_path, 0)
    monkeypatch.setattr(os, "symlink", refuse)
    assert select_best(GymnasiumVecEnv(AIM, 2), checkpoints, loader({0: 0.0}), 2, 0, "") == checkpoints[0]
    assert capsys.readouterr().out.endswith("model_0.pt. best.pt could not be written beside it.\n")


def test_small_returns_keep_their_digits(capsys: pytest.CaptureFixture[str]) -> None:
    for summary in (Summary(1234.567, math.nan, -0.5, 3), Summary(0.007374, 0.000851, 0.0, 3)):
        Console().print(results_table([Score(Path(), summary, None)]))
    assert table_rows(capsys.readouterr().out) == [["1234.57", "-", "-0.5", "3"], ["0.00737", "0.000851", "0", "3"]]
