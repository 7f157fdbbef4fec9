# SPDX-License-Identifier: BSD-3-Clause
"""Settings of Isaac Lab's tasks that do not exist, and wrong values, are refused before Isaac Sim is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.hosts.isaaclab_2_3.running import PYTHONPATH
from tests.hosts.shared import refused_before_imports
from trudi_rsl.hosts import stock_names
from trudi_rsl.hosts.isaaclab.task import Task

STORED = stock_names.FOLDER / f"isaaclab-{distribution('isaaclab').version}.json"
COLLECT = (
    "from tests.hosts.isaaclab_2_3.isaac_sim_stubs import install; install(); "
    "from trudi_rsl.hosts.stock_names import collect; print('CONTENT', collect('isaaclab'), end='')"
)


@pytest.mark.nightly
def test_the_stored_names_are_those_of_isaac_labs_tasks() -> None:
    # functions that TorchScript would compile call stubs
    environ = os.environ | {"PYTHONPATH": PYTHONPATH, "PYTORCH_JIT": "0"}
    done = subprocess.run([sys.executable, "-c", COLLECT], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.partition("CONTENT ")[2] == STORED.read_text()


@pytest.mark.parametrize("algo", ["trudi", "ppo"])
@pytest.mark.parametrize("task", ["Isaac-Velocity-Rough-G1-v0", "Isaac-Lift-Cube-Franka-v0"])
def test_the_stored_names_are_what_a_start_reads(task: str, algo: str) -> None:
    stored = json.loads(STORED.read_text())
    read = json.loads(stock_names.encode([(task, (), algo, Task(task, algo).setting_names())]))
    names = (stock_names.decode(of, of["tasks"][task][""][algo]) for of in (stored, read))
    assert next(names) == next(names)


@pytest.mark.parametrize(
    ("override", "right"),
    [
        ("env.decimatoin=7", "'decimation'"),
        ("agent.max_iteration=5", "'max_iterations'"),
        ("env.sim.dt=fast", "a number"),
        ("agent.max_iterations=many", "an integer"),
    ],
)
def test_the_first_command_of_a_released_task_is_refused_early(
    override: str, right: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUDI_CACHE", str(tmp_path))
    args = ("--task", "Isaac-Velocity-Rough-G1-v0", "--headless", "agent.run_name=a", override)
    assert right in refused_before_imports(tmp_path, "train", *args)


def test_the_first_playback_of_a_released_task_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUDI_CACHE", str(tmp_path))
    args = ("--task", "Isaac-Velocity-Rough-G1-v0", "--device", "cpu", "env.decimatoin=7")
    assert "'decimation'" in refused_before_imports(tmp_path, "play", *args)
