# SPDX-License-Identifier: BSD-3-Clause
"""The paper's other algorithms train, play and export under Isaac Lab as TruDi does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts.isaaclab_3_0.commands import FEW_STEPS, ON_CPU, SMALL_TRUDI, isaaclab, script
from tests.hosts.isaaclab_3_0.policies import check_exports_act_as
from trudi_rsl.algorithms.checkpoint import algorithm_of, load_deployable, read_checkpoint
from trudi_rsl.algorithms.family import SETTINGS
from trudi_rsl.hosts.isaaclab.registration import agent_key

pytestmark = pytest.mark.slow

TASK = "Isaac-Cartpole"
COMMON = (*ON_CPU, "physics=newton_mjwarp", *FEW_STEPS)
SMALL_MODELS = ("agent.actor.hidden_dims=[16]", "agent.critic.hidden_dims=[16]")


def train(algo: str, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Train by our script and return the checkpoint, and the settings to play it with."""
    settings = ("--task", TASK, "--headless", *COMMON, *(SMALL_TRUDI if algo in SETTINGS else SMALL_MODELS))
    trained = script("train.py", "--algo", algo, "--max_iterations", "2", *settings, folder=folder)
    assert trained.returncode == 0, trained.output
    return trained.checkpoint, settings


@pytest.mark.parametrize("algo", ["reppo", "dime", "fpo"])
def test_an_algorithm_trains_by_our_script_into_a_checkpoint_that_tells_it(algo: str, tmp_path: Path) -> None:
    checkpoint, _ = train(algo, tmp_path)
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


def test_isaac_labs_own_command_trains_another_algorithm(tmp_path: Path) -> None:
    arguments = ("--rl_library", "rsl_rl", "--task", TASK, "--agent", agent_key("reppo"), "--max_iterations", "1")
    done = isaaclab("train", *arguments, *COMMON, *SMALL_TRUDI, folder=tmp_path)
    assert done.returncode == 0, done.output
    assert algorithm_of(read_checkpoint(done.checkpoint)) == "reppo"
