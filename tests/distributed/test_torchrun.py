# SPDX-License-Identifier: BSD-3-Clause
"""scripts/train.py --distributed under torchrun, over gloo on the CPU."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
import torch

from tests.distributed.torchrun import TASK, observed, run_folder, torchrun
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.hosts.registry import make_env

pytestmark = pytest.mark.slow


def assert_processes_agree(folder: Path, processes: int = 2) -> None:
    first, *others = (observed(folder, rank) for rank in range(processes))
    for other in others:
        assert other["iterations"] == first["iterations"]
        assert [n for n, value in first["state"].items() if not torch.equal(value, other["state"][n])] == []


def test_ranks_train_one_policy_from_different_episodes_and_end_together(tmp_path: Path) -> None:
    training = torchrun(tmp_path, "--seed", "5", "--max_iterations", "100000", "agent.save_interval=100000")
    assert training.stdout is not None
    printed = []
    for line in training.stdout:
        printed.append(line)
        if "Learning iteration 2/" in line:
            training.send_signal(signal.SIGTERM)
            break
    rest, errors = training.communicate(timeout=100)
    output = "".join(printed) + rest
    assert training.returncode != 0, errors
    assert_processes_agree(tmp_path)
    first, second = (observed(tmp_path, rank) for rank in (0, 1))
    # together the 3 environments of each rank are the 6 of a single process
    together = make_env(TASK, {"num_envs": 6}, seed=5).get_observations()["policy"]
    assert torch.equal(torch.cat([first["first"], second["first"]]), together)
    # the signal ended both after the same iteration, and only rank 0 wrote and printed
    ended = first["iterations"][1]
    run = run_folder(tmp_path)
    assert sorted(p.name for p in run.glob("model_*")) == sorted({"model_0.pt", f"model_{ended}.pt"})
    assert len(list(run.glob("events.out*"))) == 1
    assert output.count(f"Stopped after iteration {ended}: SIGTERM.") == 1
    assert output.count("Learning iteration 0/") == 1
    saved = read_checkpoint(run / f"model_{ended}.pt")["actor_state_dict"]
    assert all(torch.equal(value, first["state"][name]) for name, value in saved.items())


def test_a_killed_rank_is_named_and_both_resume_from_the_rescued_checkpoint(tmp_path: Path) -> None:
    killed, resumed = tmp_path / "killed", tmp_path / "resumed"
    killed.mkdir()
    training = torchrun(killed, "--max_iterations", "100000", killed=1)
    _, errors = training.communicate(timeout=100)
    assert training.returncode not in (0, None)
    (message,) = (line for line in errors.splitlines() if line.startswith("Error: Rank 0"))
    rescued = run_folder(killed) / "model_1_rescued.pt"
    assert "rank 1 is gone without a note" in message
    assert str(rescued.relative_to(killed)) in message
    assert "Signal 9 (SIGKILL)" in errors

    resumed.mkdir()
    shutil.copy(rescued, resumed)
    training = torchrun(resumed, "--checkpoint", rescued.name, "--resume", "--max_iterations", "2")
    _, errors = training.communicate(timeout=100)
    assert training.returncode == 0, errors
    assert_processes_agree(resumed)
    assert observed(resumed, 1)["iterations"] == (1, 2)
