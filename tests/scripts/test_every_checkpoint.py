# SPDX-License-Identifier: BSD-3-Clause
"""scripts/play.py --every_checkpoint on Gymnasium's tasks."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.evaluation.counting_tasks import AIM
from tests.evaluation.tiny_runs import train_tiny
from tests.scripts.running import ScriptHere, table_rows

pytestmark = pytest.mark.slow

ACTIONS = {0: -0.5, 2: 0.0, 10: 0.5, 20: 0.2}
"""Iterations to the action that the policy then always takes; the task's targets lie around 0.5."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of PPO whose policies act as :data:`ACTIONS` says."""
    checkpoint = train_tiny("ppo", tmp_path_factory.mktemp("runs") / "ppo", AIM)
    content = torch.load(checkpoint, weights_only=True)
    for file in checkpoint.parent.glob("*.pt"):
        file.unlink()
    for iteration, action in ACTIONS.items():
        content["actor_state_dict"]["mlp.2.weight"].zero_()
        content["actor_state_dict"]["mlp.2.bias"].fill_(action)
        torch.save(content | {"iter": iteration}, checkpoint.with_name(f"model_{iteration}.pt"))
    return checkpoint.parent


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, in which ``best.pt`` names the newest checkpoint."""
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / "best.pt").symlink_to("model_20.pt")
    return folder


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ScriptHere:
    return ScriptHere("play.py", tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("named", ["run", "run/model_2.pt", "run/best.pt"])
def test_all_checkpoints_of_the_run_are_played_and_best_names_the_best(play: ScriptHere, run: Path, named: str) -> None:
    output = play("--task", AIM, "--checkpoint", named, "--every_checkpoint")
    table = table_rows(output)
    assert [[row[0], row[4], row[-1]] for row in table] == [[str(i), "10", "best" * (i == 10)] for i in ACTIONS]
    assert (run / "best.pt").readlink() == Path("model_10.pt")
    assert re.fullmatch(r"Best: \S*run/model_10\.pt, which best\.pt now names\.", output.splitlines()[-1])
    assert not (run / "exported").exists()


@pytest.mark.parametrize("sampler", [pytest.param("ode", marks=pytest.mark.nightly), "sde"])
def test_a_checkpoint_gets_the_numbers_that_it_gets_alone(play: ScriptHere, run: Path, sampler: str) -> None:
    flags = ("--task", AIM, "--episodes", "7", "--num_envs", "3", "--seed", "4", "--sampler", sampler)
    together = table_rows(play(*flags, "--checkpoint", "run", "--every_checkpoint"))
    for row in together:
        (alone,) = table_rows(play(*flags, "--checkpoint", f"run/model_{row[0]}.pt"))
        assert alone[:4] == row[1:5]
    assert len({row[1] for row in together}) == len(ACTIONS)


def test_damaged_checkpoints_and_rescued_ones_are_skipped(play: ScriptHere, run: Path) -> None:
    content = (run / "model_10.pt").read_bytes()
    (run / "model_10.pt").write_bytes(content[:-500])
    (run / "model_30_rescued.pt").write_bytes(content)
    output = play("--task", AIM, "--checkpoint", "run", "--every_checkpoint", "--episodes", "2")
    assert "model_10.pt is damaged or incomplete" in output
    assert [row[0] for row in table_rows(output)] == ["0", "2", "20"]
    assert (run / "best.pt").readlink() == Path("model_20.pt")


def test_outside_of_a_run_the_checkpoints_of_the_folder_are_played_but_none_of_other_algorithms(
    play: ScriptHere, run: Path, tmp_path: Path
) -> None:
    trudi = train_tiny("trudi", tmp_path / "trudi", AIM)
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("model_0.pt", "model_1.pt"):
        shutil.copy(trudi.with_name(name), alone)
    shutil.copy(run / "model_10.pt", alone)
    output = play("--task", AIM, "--checkpoint", "alone/model_1.pt", "--every_checkpoint", "--episodes", "2")
    assert "model_10.pt was skipped" in output and "is a checkpoint of ppo, not of trudi" in output
    assert [row[0] for row in table_rows(output)] == ["0", "1"]
    assert (alone / "best.pt").readlink().name in ("model_0.pt", "model_1.pt")


def test_a_folder_without_iterations_and_a_video_are_refused(play: ScriptHere, run: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    shutil.copytree(run / "params", tmp_path / "alone" / "params")
    shutil.copy(run / "model_10.pt", tmp_path / "alone" / "mine.pt")
    error = play.error("--task", AIM, "--checkpoint", "alone/mine.pt", "--every_checkpoint")
    assert error == "Error: alone has no sound checkpoint model_<iteration>.pt."
    error = play.error("--task", AIM, "--checkpoint", "run", "--every_checkpoint", "--video")
    assert error.startswith("Error: --every_checkpoint records no video.")
    assert (run / "best.pt").readlink() == Path("model_20.pt")
