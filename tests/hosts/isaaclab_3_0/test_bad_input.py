# SPDX-License-Identifier: BSD-3-Clause
"""What cannot work is answered in one line, before a simulator starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.hosts.isaaclab_3_0.commands import ON_CPU, Done, script

pytestmark = pytest.mark.slow

G1 = ("--task", "Isaac-Velocity-Flat-G1-v0", "physics=newton_mjwarp")


def check_refused(done: Done, *words: str) -> None:
    """Check that a script left with one line of error, holding the words, and no run."""
    assert done.returncode == 2, done.output
    error = done.output.strip().splitlines()[-1]
    assert error.startswith("Error: ")
    for word in words:
        assert word in error
    assert "Traceback" not in done.output
    assert not (done.folder / "logs").exists()


def test_an_unknown_setting_of_the_agent_is_answered_with_the_nearest(tmp_path: Path) -> None:
    check_refused(
        script("train.py", *G1, *ON_CPU, "agent.algorithm.kl_bond=0.2", folder=tmp_path), "kl_bond", "kl_bound"
    )


def test_an_unknown_task_is_answered_with_the_nearest(tmp_path: Path) -> None:
    done = script("train.py", "--task", "Isaac-Velocity-Flat-G2-v0", *ON_CPU, folder=tmp_path)
    check_refused(done, "Isaac-Velocity-Flat-G2-v0", "Isaac-Velocity-Flat-G1")


def test_a_task_without_a_configuration_for_rsl_rl_is_told_what_it_lacks(tmp_path: Path) -> None:
    done = script("train.py", "--task", "Isaac-Factory-PegInsert-Direct-v0", *ON_CPU, folder=tmp_path)
    check_refused(done, "IsaacContrib-Factory-PegInsert-Direct", "rl_games", "rsl_rl_cfg_entry_point")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_answered_with_how_to_train_on_the_cpu(tmp_path: Path) -> None:
    check_refused(script("train.py", *G1, folder=tmp_path), "--device cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_task_of_isaac_sim_is_refused_without_a_gpu(tmp_path: Path) -> None:
    done = script("train.py", "--task", "Isaac-Velocity-Flat-G1", *ON_CPU, "physics=isaacsim_physx", folder=tmp_path)
    check_refused(done, "isaacsim_physx", "newton_mjwarp")
