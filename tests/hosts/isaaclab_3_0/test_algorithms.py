# SPDX-License-Identifier: BSD-3-Clause
"""The paper's other algorithms train, play and export under Isaac Lab as TruDi does."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.hosts.isaaclab_3_0.commands import FEW_STEPS, ON_CPU, SMALL_TRUDI, isaaclab, script
from tests.hosts.isaaclab_3_0.policies import check_exports_act_as
from tests.scripts.running import table_rows
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import algorithm_of
from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.hosts.isaaclab.registration import agent_key
from trudi_rsl.settings import SETTINGS

pytestmark = pytest.mark.slow

TASK = "Isaac-Cartpole"
COMMON = (*ON_CPU, "physics=newton_mjwarp", *FEW_STEPS)
SMALL_MODELS = ("agent.actor.hidden_dims=[16]", "agent.critic.hidden_dims=[16]")


Trained = tuple[Path, tuple[str, ...]]
"""A checkpoint, and the settings to play it with."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """What returns an algorithm's checkpoint, trained once."""
    return functools.cache(lambda algo: train(algo, tmp_path_factory.mktemp(algo)))


def train(algo: str, folder: Path) -> Trained:
    """Train by our script."""
    settings = ("--task", TASK, "--headless", *COMMON, *(SMALL_TRUDI if algo in SETTINGS else SMALL_MODELS))
    trained = script("train.py", "--algo", algo, "--max_iterations", "2", *settings, folder=folder)
    assert trained.returncode == 0, trained.output
    return trained.checkpoint, settings


@pytest.mark.parametrize("algo", ["reppo", "dime", "fpo"])
def test_an_algorithm_trains_by_our_script_into_a_checkpoint_that_tells_it(
    algo: str, trained: Callable[[str], Trained]
) -> None:
    checkpoint, _ = trained(algo)
    assert algorithm_of(read_checkpoint(checkpoint)) == algo
    assert load_deployable(checkpoint)[1]["task"] == TASK
    assert checkpoint.parents[1].name.endswith(f"_{algo}")


@pytest.mark.parametrize("algo", ["spo", "dppo"])
def test_an_algorithm_plays_and_exports_by_our_script_from_its_checkpoint_alone(algo: str, tmp_path: Path) -> None:
    checkpoint, settings = train(algo, tmp_path)
    played = script("play.py", "--checkpoint", checkpoint, "--episodes", "2", *settings, folder=tmp_path)
    assert played.returncode == 0, played.output
    assert f"Returns on {TASK}, {algo}, sampler ode" in played.output
    check_exports_act_as(checkpoint)


def test_every_checkpoint_of_a_run_is_played_alike_and_best_names_the_best(
    trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    checkpoint, settings = trained("dime")
    run = shutil.copytree(checkpoint.parent, tmp_path / "run")
    content = read_checkpoint(run / "model_0.pt")
    torch.save(content, run / "model_9.pt")
    content["actor_state_dict"]["actor.score_network.output_layer.bias"].add_(1.0)
    torch.save(content, run / "model_1.pt")
    before = {path.name for path in run.iterdir()}
    short = ("--checkpoint", "run", "--every_checkpoint", "env.episode_length_s=0.5")
    played = script("play.py", *short, *settings, folder=tmp_path)
    assert played.returncode == 0, played.output
    assert f"Returns on {TASK}, dime, sampler ode" in played.output
    first, second, same = table_rows(played.output)
    assert [row[0] for row in (first, second, same)] == ["0", "1", "9"]
    assert first[1:5] == same[1:5] != second[1:5]
    assert first[4] == "10"
    best = max((first, second), key=lambda row: float(row[1]))
    assert best[-1] == "best" and (run / "best.pt").readlink() == Path(f"model_{best[0]}.pt")
    assert {path.name for path in run.iterdir()} == before | {"best.pt"}


def test_isaac_labs_own_command_trains_another_algorithm(tmp_path: Path) -> None:
    arguments = ("--rl_library", "rsl_rl", "--task", TASK, "--agent", agent_key("reppo"), "--max_iterations", "1")
    done = isaaclab("train", *arguments, *COMMON, *SMALL_TRUDI, folder=tmp_path)
    assert done.returncode == 0, done.output
    assert algorithm_of(read_checkpoint(done.checkpoint)) == "reppo"
