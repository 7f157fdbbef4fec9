# SPDX-License-Identifier: BSD-3-Clause
"""scripts/train.py --distributed under torchrun, over gloo on the CPU.

The ranks run this file, which adds a hook to scripts/train.py. It stores what each rank saw in
``OBSERVED_FOLDER/rank<number>.pt``, and kills the process of rank ``KILLED_RANK`` in its third iteration.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import trudi_rsl.runners
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.distributed import current_ranks
from trudi_rsl.hosts.registry import make_env

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TASK = "PlanarObstacle-v0"
SMALL = ["env.num_envs=3", "agent.num_steps_per_env=8", "agent.algorithm.num_mini_batches=2"]
SMALL += ["agent.algorithm.num_denoise_steps=2", "agent.algorithm.compile=off"]


def torchrun(folder: Path, *arguments: str, killed: int | None = None) -> subprocess.Popen[str]:
    """Start a training of two processes in ``folder``; rank ``killed`` is killed in its third iteration."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "source", ROOT))),
        "OMP_NUM_THREADS": "1",
        "OBSERVED_FOLDER": str(folder),
        "KILLED_RANK": str(killed),
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [__file__, "--distributed", "--task", TASK, "--device", "cpu"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *SMALL, *arguments], cwd=folder, env=environment, **pipes)


def observed(folder: Path, rank: int) -> dict[str, Any]:
    return torch.load(folder / f"rank{rank}.pt")


def run_folder(folder: Path) -> Path:
    (found,) = (folder / "logs" / "rsl_rl").glob("*/*")
    return found


def assert_processes_agree(folder: Path) -> None:
    first, second = (observed(folder, rank) for rank in (0, 1))
    assert second["iterations"] == first["iterations"]
    assert [n for n, value in first["state"].items() if not torch.equal(value, second["state"][n])] == []


def test_ranks_train_one_policy_from_different_episodes_and_end_together(tmp_path: Path) -> None:
    training = torchrun(tmp_path, "--seed", "5", "--max_iterations", "100000", "agent.save_interval=100000")
    assert training.stdout is not None
    printed = []
    for line in training.stdout:
        printed.append(line)
        if line.lstrip().startswith("2/100000 "):
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
    assert output.count(" 0/100000 ") == 1
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
    training = torchrun(resumed, "--checkpoint", rescued.name, "--resume", "--more_iterations", "2")
    _, errors = training.communicate(timeout=100)
    assert training.returncode == 0, errors
    assert_processes_agree(resumed)
    assert observed(resumed, 1)["iterations"] == (1, 3)


class Observer(trudi_rsl.runners.Hook):
    """Stores the first observations, the iterations and the parameters at the end."""

    def on_start(self, runner: Any) -> None:
        self.first = runner.env.get_observations()["policy"].clone()
        self.start, self.rollouts = runner.current_learning_iteration, 0

    def after_rollout(self, runner: Any) -> None:
        self.rollouts += 1
        if self.rollouts == 3 and os.environ.get("KILLED_RANK") == str(current_ranks().rank):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_end(self, runner: Any) -> None:
        algorithm = runner.alg
        state = {name: value.clone() for name, value in algorithm.actor_critic.state_dict().items()}
        state |= {name: getattr(algorithm.learner, name).detach() for name in ("log_alpha", "log_lambda")}
        iterations = (self.start, runner.current_learning_iteration)
        stored = {"state": state, "first": self.first, "iterations": iterations}
        torch.save(stored, Path(os.environ["OBSERVED_FOLDER"], f"rank{current_ranks().rank}.pt"))


class ObservedRunner(trudi_rsl.runners.OnPolicyRunner):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.hooks.append(Observer())


if __name__ == "__main__":
    trudi_rsl.runners.OnPolicyRunner = ObservedRunner  # type: ignore[misc]
    sys.argv[0] = script = str(ROOT / "scripts" / "train.py")
    runpy.run_path(script, run_name="__main__")
