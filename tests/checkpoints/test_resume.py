# SPDX-License-Identifier: BSD-3-Clause
"""Random numbers and counters go on where a checkpoint was written."""

from __future__ import annotations

import random
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from trudi_rsl.checkpoints.resume import reseeded, resume_state, rng_state, set_resume_state, set_rng_state


def draws() -> list[float]:
    """Return random numbers of all generators; two normal ones, since NumPy and Python keep every second."""
    numbers = [*np.random.randn(3), np.random.rand(), *(random.gauss(0.0, 1.0) for _ in range(3)), random.random()]
    return [*map(float, numbers), *torch.randn(3).tolist()]


def test_all_random_numbers_go_on_through_a_file_that_is_read_without_running_code(tmp_path: Path) -> None:
    np.random.seed(1)
    random.seed(2)
    torch.manual_seed(3)
    draws()
    torch.save(rng_state(), tmp_path / "state.pt")
    expected = draws()
    draws()
    set_rng_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draws() == expected
    set_rng_state({"cpu": torch.get_rng_state(), "cuda": []})  # all that checkpoints of the first versions hold


class Staged:
    """What Isaac Lab's and mjlab's environments show of their progress."""

    def __init__(self, envs: int = 4, counter: int = 0) -> None:
        self.common_step_counter, self._sim_step_counter = counter, 4 * counter
        self.resets: list[torch.Tensor] = []
        origins = torch.arange(5.0)[:, None, None] * torch.ones(5, 3, 3)
        levels = torch.zeros(envs, dtype=torch.long)
        terrain = SimpleNamespace(terrain_origins=origins, terrain_levels=levels, terrain_types=levels.clone())
        terrain.env_origins = torch.zeros(envs, 3)
        self.scene = SimpleNamespace(terrain=terrain)
        self.curriculum_manager = SimpleNamespace(compute=self._move_down)

    @property
    def unwrapped(self) -> Any:
        """Return the environment, as wrappers do."""
        return self

    def _move_down(self) -> None:
        self.scene.terrain.terrain_levels -= 1

    def reset(self) -> None:
        """Reset all, as the hosts do: the curriculum moves first."""
        self.curriculum_manager.compute()
        self.resets.append(self.scene.terrain.env_origins.clone())


def test_counters_and_terrain_go_on_and_robots_are_put_onto_it_without_moving_the_curriculum(
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved, fresh = Staged(counter=700), Staged()
    saved.scene.terrain.terrain_levels += torch.tensor([4, 0, 2, 1])
    state = resume_state(saved)  # type: ignore[arg-type]
    saved.scene.terrain.terrain_levels.zero_()
    set_resume_state(fresh, state)  # type: ignore[arg-type]
    assert (fresh.common_step_counter, fresh._sim_step_counter) == (700, 2800)
    assert fresh.scene.terrain.terrain_levels.tolist() == [4, 0, 2, 1]
    (origins,) = fresh.resets
    assert origins[:, 0].tolist() == [4.0, 0.0, 2.0, 1.0]
    (line,) = capsys.readouterr().out.splitlines()
    assert "common_step_counter 700" in line and "mean terrain level 1.75" in line and "new episodes" in line


def test_another_number_of_environments_keeps_its_terrain_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    fresh = Staged(envs=2)
    set_resume_state(fresh, resume_state(Staged(counter=9)))  # type: ignore[arg-type]
    assert fresh.common_step_counter == 9 and fresh.resets == []
    assert "terrain levels new, since the checkpoint is of 4 environments" in capsys.readouterr().out


def test_other_processes_take_over_counters_but_no_random_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    fresh = Staged()
    state = resume_state(Staged(counter=9))  # type: ignore[arg-type]
    torch.manual_seed(77)
    before = torch.get_rng_state()
    set_resume_state(fresh, state, is_main_process=False)  # type: ignore[arg-type]
    assert fresh.common_step_counter == 9 and torch.equal(torch.get_rng_state(), before)
    assert capsys.readouterr().out == ""


class Cart:
    """A simulator with a state, whose episodes continue from it."""

    def __init__(self) -> None:
        self.loaded: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"exact": True, "num_envs": 1, "x": 3.0}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loaded = state


def test_under_another_version_of_the_simulator_its_episodes_start_over_and_that_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("mujoco")  # imports it
    saved: Any = resume_state(Cart())  # type: ignore[arg-type]
    assert saved["simulators"]["mujoco"] == version("mujoco")
    same, other = Cart(), Cart()
    set_resume_state(same, saved)  # type: ignore[arg-type]
    assert same.loaded["x"] == 3.0 and capsys.readouterr().out == ""
    saved["simulators"]["mujoco"] = "3.12.0"
    set_resume_state(other, saved)  # type: ignore[arg-type]
    out = capsys.readouterr().out
    assert not other.loaded
    assert f"mujoco 3.12.0 -> {version('mujoco')}" in out and "not exact" in out and "mujoco==3.12.0" in out


def test_reseeding_replaces_the_random_numbers_and_drops_the_episodes() -> None:
    before = torch.get_rng_state()
    saved = resume_state(Cart())  # type: ignore[arg-type]
    five, again, six = (reseeded(saved, seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before), "reading a checkpoint draws nothing"
    assert "env_state" not in five
    drawn = []
    for checkpoint in (five, again, six):
        set_rng_state(checkpoint["rng_state"])
        drawn.append(draws())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[int]]:
    """Replace the random states of GPUs by these, of which a test may change the number."""
    states: dict[int, list[int]] = {}
    index = lambda device: device.index if isinstance(device, torch.device) else device  # noqa: E731
    functions = {
        "is_available": lambda: bool(states),
        "device_count": lambda: len(states),
        "current_device": lambda: 0,
        "get_rng_state_all": lambda: [torch.tensor(state, dtype=torch.uint8) for state in states.values()],
        "set_rng_state": lambda state, device: states.update({index(device): state.tolist()}),
    }
    for name, function in functions.items():
        monkeypatch.setattr(torch.cuda, name, function)
    return states


def test_random_numbers_of_the_training_gpu_go_on_on_another_one(
    gpus: dict[int, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    gpus |= {0: [10], 1: [11], 2: [12]}
    saved = rng_state("cuda:1")
    gpus.clear()
    gpus |= {0: [0], 1: [0]}
    set_rng_state(saved, "cuda:1")
    assert gpus == {0: [10], 1: [11]}, "fewer GPUs are no reason to start anew"
    set_rng_state(saved, "cuda")
    assert gpus[0] == [11], "the training's own generator follows it"
    former = {"cpu": saved["cpu"], "cuda": saved["cuda"]}
    set_rng_state(former, "cuda:1")
    assert gpus[1] == [11] and capsys.readouterr().out == ""


@pytest.mark.parametrize(("there", "here"), [("cpu", "cuda:0"), ("cuda:0", "cpu")])
def test_random_numbers_that_cannot_go_on_are_reported(
    gpus: dict[int, list[int]], capsys: pytest.CaptureFixture[str], there: str, here: str
) -> None:
    gpus |= {0: [10]} if there == "cuda:0" else {}
    saved = rng_state(there)
    gpus |= {0: [20]}
    set_rng_state(saved, here)
    assert f"training on {there}: random numbers on {here} start anew" in capsys.readouterr().out
