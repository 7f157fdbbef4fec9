# SPDX-License-Identifier: BSD-3-Clause
"""The other algorithms train, play and export in Isaac Lab as TruDi does."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.isaaclab_3_0.commands import FEW_STEPS, ON_CPU, SMALL_TRUDI, check_exports_act_as, isaaclab, script
from tests.hosts.shared import add_checkpoints, check_every_checkpoint
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
    """Return a function that trains an algorithm once with our script."""

    @functools.cache
    def train(algo: str) -> Trained:
        settings = ("--task", TASK, "--headless", *COMMON, *(SMALL_TRUDI if algo in SETTINGS else SMALL_MODELS))
        flags = ("--algo", algo, "--max_iterations", "2")
        done = script("train.py", *flags, *settings, folder=tmp_path_factory.mktemp(algo))
        assert done.returncode == 0, done.output
        return done.checkpoint, settings

    return train


NIGHTLY = pytest.mark.nightly


@pytest.mark.parametrize("algo", ["dime", *(pytest.param(algo, marks=NIGHTLY) for algo in ("reppo", "fpo"))])
def test_our_script_trains_an_algorithm_and_its_checkpoint_names_it(
    algo: str, trained: Callable[[str], Trained]
) -> None:
    checkpoint, _ = trained(algo)
    assert algorithm_of(read_checkpoint(checkpoint)) == algo
    assert load_deployable(checkpoint)[1]["task"] == TASK
    assert checkpoint.parents[1].name.endswith(f"_{algo}")


@pytest.mark.parametrize("algo", [pytest.param(algo, marks=NIGHTLY) for algo in ("spo", "dppo")])
def test_our_script_plays_and_exports_an_algorithm_from_its_checkpoint_alone(
    algo: str, trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    checkpoint, settings = trained(algo)
    played = script("play.py", "--checkpoint", checkpoint, "--episodes", "2", *settings, folder=tmp_path)
    assert played.returncode == 0, played.output
    assert f"Returns on {TASK}, {algo}, sampler ode" in played.output
    check_exports_act_as(checkpoint)


def test_every_checkpoint_of_a_run_is_played_alike_and_best_names_the_best(
    trained: Callable[[str], Trained], tmp_path: Path
) -> None:
    checkpoint, settings = trained("dime")
    run = shutil.copytree(checkpoint.parent, tmp_path / "run")
    add_checkpoints(run)
    before = {path.name for path in run.iterdir()}
    short = ("--checkpoint", "run", "--every_checkpoint", "env.episode_length_s=0.5")
    played = script("play.py", *short, *settings, folder=tmp_path)
    assert played.returncode == 0, played.output
    assert f"{TASK}, dime, sampler ode" in played.output
    check_every_checkpoint(run, played.output)
    assert {path.name for path in run.iterdir()} == before | {"best.pt"}


@NIGHTLY
def test_isaac_labs_own_command_trains_another_algorithm(tmp_path: Path) -> None:
    arguments = ("--rl_library", "rsl_rl", "--task", TASK, "--agent", agent_key("reppo"), "--max_iterations", "1")
    done = isaaclab("train", *arguments, *COMMON, *SMALL_TRUDI, folder=tmp_path)
    assert done.returncode == 0, done.output
    assert algorithm_of(read_checkpoint(done.checkpoint)) == "reppo"
