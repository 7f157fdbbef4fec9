# SPDX-License-Identifier: BSD-3-Clause
"""Starts scripts/train.py with torchrun on a small task."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
TASK = "PlanarObstacle-v0"
SMALL = ["env.num_envs=3", "agent.num_steps_per_env=8", "agent.algorithm.num_mini_batches=2"]
SMALL += ["agent.algorithm.num_denoise_steps=2", "agent.algorithm.compile=off"]


def torchrun(folder: Path, *arguments: str, killed: int | None = None) -> subprocess.Popen[str]:
    """Start a training of two processes in ``folder``, where each rank writes ``rank<number>.pt``.

    Args:
        folder: Working directory.
        *arguments: Flags and overrides of scripts/train.py.
        killed: Rank of the process to kill in its third iteration.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "source", ROOT))),
        "OMP_NUM_THREADS": "1",
        "OBSERVED_FOLDER": str(folder),
        "KILLED_RANK": str(killed),
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(Path(__file__).with_name("train_observed.py")), "--distributed", "--task", TASK, "--device", "cpu"]
    return subprocess.Popen(
        [*command, *SMALL, *arguments],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def observed(folder: Path, rank: int) -> dict[str, Any]:
    """Return what a rank stored."""
    return torch.load(folder / f"rank{rank}.pt")


def run_folder(folder: Path) -> Path:
    """Return the only run folder."""
    (found,) = (folder / "logs" / "rsl_rl").glob("*/*")
    return found
