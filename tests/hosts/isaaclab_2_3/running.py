# SPDX-License-Identifier: BSD-3-Clause
"""Running our scripts under Isaac Lab 2.3 with Isaac Sim stubbed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.hosts.environments import HOSTS

ROOT = Path(__file__).parents[3]
MODULE = "tests.hosts.isaaclab_2_3.isaac_sim_stubs"
TASK = "tests.hosts.isaaclab_2_3.point_task:Isaac-Point-Direct-v0"
PYTHONPATH = os.pathsep.join((os.environ["PYTHONPATH"], str(ROOT)))
FLAGS = ("--headless", "--num_envs", "6", "agent.num_steps_per_env=8")

MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(
        version("rsl-rl-lib") != HOSTS["isaaclab_2_3"].rsl_rl[0],
        reason="test_training.py covers the differences of RSL-RL's versions; starting Isaac Lab is slow",
    ),
]
"""Marks of tests that start Isaac Lab several times."""


def run(folder: Path, script: str, *args: str) -> str:
    """Return what a script prints."""
    command = [sys.executable, "-m", MODULE, str(ROOT / "scripts" / script), "--task", TASK, "--device", "cpu", *args]
    environ = os.environ | {"PYTHONPATH": PYTHONPATH}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout
