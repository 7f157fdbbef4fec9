# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Settings of mjlab's tasks that do not exist are refused before mjlab is imported."""

from __future__ import annotations

import json
import time
from importlib.metadata import distribution
from pathlib import Path

import pytest
from mjlab.tasks import registry

from tests.hosts.mjlab import foreign_project
from tests.hosts.mjlab.running import CARTPOLE, FLAT, ROUGH
from tests.hosts.shared import refused_before_imports
from trudi_rsl.commands.train import parse
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts import setting_names, stock_names
from trudi_rsl.hosts.registry import train


def test_the_stored_names_are_those_of_mjlabs_tasks() -> None:
    stored = json.loads((stock_names.FOLDER / f"mjlab-{distribution('mjlab').version}.json").read_text())
    read = json.loads(stock_names.collect("mjlab"))  # other tests may have registered further tasks
    assert {FLAT, ROUGH, CARTPOLE} < set(stored["tasks"]) <= set(read["tasks"])
    for task, of in stored["tasks"].items():
        for algo, root in of[""].items():
            assert stock_names.decode(stored, root) == stock_names.decode(read, read["tasks"][task][""][algo])


@pytest.mark.parametrize(
    ("override", "right"),
    [
        ("env.decimatoin=7", "'decimation'"),
        ("agent.max_iteration=5", "'max_iterations'"),
        ("env.rewards.air_time.wait=1", "'weight'"),
        ("env.scene.num_envs=many", "an integer"),
        ("enable_nan_gard=true", "'enable_nan_guard'"),
    ],
)
def test_the_first_command_of_a_released_task_is_refused_early(override: str, right: str, tmp_path: Path) -> None:
    assert right in refused_before_imports(tmp_path, "train", "--task", FLAT, "--device", "cpu", override)


def test_a_projects_task_is_refused_early_from_its_second_start_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if foreign_project.TASK not in registry.list_tasks():
        foreign_project.register()
    monkeypatch.setenv("TRUDI_CACHE", str(tmp_path))
    # tests before this one may have imported modules that they have written
    monkeypatch.setattr(setting_names, "BEGAN", time.time_ns())
    task = f"mjlab:{foreign_project.TASK}"
    with pytest.raises(ConfigError, match="camera_rat"):
        train(*parse(["--task", task, "--device", "cpu", "agent.camera_rat=1"]))
    message = refused_before_imports(tmp_path, "train", "--task", task, "--device", "cpu", "agent.camera_rats=1")
    assert "'camera_rate'" in message


def test_the_first_playback_of_a_released_task_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUDI_CACHE", str(tmp_path))
    args = ("--task", FLAT, "--device", "cpu", "env.decimatoin=7")
    assert "'decimation'" in refused_before_imports(tmp_path, "play", *args)
