# SPDX-License-Identifier: BSD-3-Clause
"""How several processes are started, what a user is told who starts them otherwise, and that one shares nothing."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.distributed.run import get_args_parser

from scripts.train import main, parse, settings
from trudi_rsl.config import compose
from trudi_rsl.distributed import (
    TORCHRUN_VARIABLES,
    Ranks,
    all_gather,
    all_reduce_mean,
    broadcast_from_rank0,
    current_ranks,
    join_gloo,
    quiet_unless_rank0,
)

ROOT = Path(__file__).resolve().parents[2]
SBATCH = ROOT / "scripts" / "slurm" / "train_distributed.sbatch"


@pytest.fixture(autouse=True)
def _alone_in_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in TORCHRUN_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("started", [{}, {"RANK": "0", "WORLD_SIZE": "2"}])
def test_distributed_without_torchrun_says_how_to_start_it(
    started: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    assert main(["--task", "PlanarObstacle-v0", "--distributed"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "which torchrun starts: torchrun --nproc_per_node=" in line


def test_torchrun_without_distributed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in zip(TORCHRUN_VARIABLES, ("1", "1", "2", "localhost", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    assert main(["--task", "PlanarObstacle-v0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "WORLD_SIZE is 2" in line and "scripts/train.py --distributed" in line


def test_only_the_main_process_prints_and_all_tell_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, printed in (("0", "said\n"), ("3", "")):
        monkeypatch.setenv("RANK", rank)
        with quiet_unless_rank0(), warnings.catch_warnings(record=True) as warned:
            print("said")
            print("wrong", file=sys.stderr)
            warnings.warn("odd", stacklevel=1)
        assert capsys.readouterr() == (printed, "wrong\n")
        assert len(warned) == (rank == "0")


def test_a_process_alone_is_the_main_one_and_shares_nothing() -> None:
    assert current_ranks() == Ranks(rank=0, local_rank=0, world_size=1)
    runner = SimpleNamespace(device="cpu", cfg={})
    assert not join_gloo(runner) and vars(runner) == {"device": "cpu", "cfg": {}}
    x = torch.randn(3)
    assert all_reduce_mean(x) is x
    assert torch.equal(all_gather(x), x[None])
    assert broadcast_from_rank0("model_1.pt") == "model_1.pt"


def test_on_gpus_the_processes_are_joined_by_rsl_rl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    runner = SimpleNamespace(device="cuda:0", cfg={})
    assert not join_gloo(runner) and vars(runner) == {"device": "cuda:0", "cfg": {}}


@pytest.fixture
def slurm_command(tmp_path: Path) -> list[str]:
    """What the Slurm example runs on each of two nodes, with Slurm's commands replaced by ones that tell."""
    for name, body in (("srun", 'printf "%s\\n" "$@"'), ("scontrol", "printf 'node7\\nnode8\\n'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4"}
    documented = re.search(r"^#   sbatch \S+ (.*)$", SBATCH.read_text(), re.MULTILINE)
    assert documented is not None
    done = subprocess.run(
        ["bash", str(SBATCH), *shlex.split(documented[1])],
        env=os.environ | job | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_the_slurm_example_is_accepted_by_torchrun_and_by_the_script(slurm_command: list[str]) -> None:
    torchrun = slurm_command.index("torchrun")
    assert slurm_command[:torchrun] == ["--kill-on-bad-exit=1"]
    launch = get_args_parser().parse_args(slurm_command[torchrun + 1 :])
    assert (launch.nnodes, launch.nproc_per_node, launch.rdzv_id) == ("2", "4", "4711")
    assert re.fullmatch(r"node7:\d{5}", launch.rdzv_endpoint)
    assert (ROOT / launch.training_script).is_file()
    args, overrides = parse(launch.training_script_args)
    assert args.distributed and overrides == []
    assert compose(args.task, args.algo, overrides, settings=settings(args)).agent.seed == 1
