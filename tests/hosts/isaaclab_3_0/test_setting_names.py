# SPDX-License-Identifier: BSD-3-Clause
"""Settings of Isaac Lab's tasks that do not exist are refused before Isaac Lab is imported."""

from __future__ import annotations

import json
import time
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.hosts.shared import refused_before_imports
from trudi_rsl.hosts import setting_names, stock_names
from trudi_rsl.hosts.isaaclab.launch_3_0 import remember_names
from trudi_rsl.hosts.isaaclab.task import find_task
from trudi_rsl.hosts.setting_names import Start

STORED = stock_names.FOLDER / f"isaaclab-{distribution('isaaclab').version}.json"
NEWTON = "physics=newton_mjwarp"


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # Isaac Lab deprecates some of its tasks
def test_the_stored_names_are_those_of_isaac_labs_tasks() -> None:
    assert STORED.read_text() == stock_names.collect("isaaclab")


@pytest.mark.parametrize("task", ["Isaac-Velocity-Rough-G1", "Isaac-Ant"])
@pytest.mark.parametrize("selected", [(), (NEWTON,)], ids=["default", "newton"])
def test_the_stored_names_are_what_a_start_reads(
    task: str, selected: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUDI_CACHE", str(tmp_path))
    # tests before this one may have imported modules that they have written
    monkeypatch.setattr(setting_names, "BEGAN", time.time_ns())
    start = Start("isaaclab", "train", task, "ppo", selected)
    remember_names(start, find_task(task, "ppo"))
    assert start.known() == stock_names.decode(json.loads(STORED.read_text()), _root(task, selected))


def _root(task: str, selected: tuple[str, ...]) -> int:
    return json.loads(STORED.read_text())["tasks"][task][" ".join(selected)]["ppo"]


@pytest.mark.parametrize("selected", [(), (NEWTON,)], ids=["default", "newton"])
@pytest.mark.parametrize(
    ("override", "right"),
    [
        *(
            ("env.decimatoin=7", "'decimation'"),
            ("agent.max_iteration=5", "'max_iterations'"),
            ("env.sim.dtt=1", "'dt'"),
        ),
        *(("env.decimation=often", "an integer"), ("agent.max_iterations=many", "an integer")),
        *(("physics=newton_mjwrap", "'newton_mjwarp'"), ("presets=newton_mjwarp,flt", "'flt'")),
    ],
)
def test_the_first_command_of_a_released_task_is_refused_early(
    override: str, right: str, selected: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUDI_CACHE", str(tmp_path))
    # text that selects nothing
    args = ("--task", "Isaac-Velocity-Rough-G1-v0", "--device", "cpu", "agent.run_name=a", *selected, override)
    assert right in refused_before_imports(tmp_path, "train", *args)


def test_what_only_another_selection_has_is_left_to_isaac_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUDI_CACHE", str(tmp_path))
    monkeypatch.setattr(setting_names, "BEGAN", time.time_ns())
    of_physx = "env.sim.physics.bounce_threshold_velocity=0.2"
    start = Start("isaaclab", "train", "Isaac-Velocity-Flat-G1", "trudi", ("physics=isaacsim_physx",))
    start.check(["physics=isaacsim_physx", of_physx], "Isaac Lab")
    remember_names(start, find_task("Isaac-Velocity-Flat-G1", "trudi"))
    start.check(["physics=isaacsim_physx", of_physx], "Isaac Lab")
    newton = Start("isaaclab", "train", "Isaac-Velocity-Flat-G1", "trudi", (NEWTON,))
    with pytest.raises(ValueError, match="bounce_threshold_velocity"):
        newton.check([NEWTON, of_physx], "Isaac Lab")


def test_the_first_playback_of_a_released_task_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUDI_CACHE", str(tmp_path))
    args = ("--task", "Isaac-Velocity-Rough-G1-v0", "--device", "cpu", "env.decimatoin=7")
    assert "'decimation'" in refused_before_imports(tmp_path, "play", *args)
