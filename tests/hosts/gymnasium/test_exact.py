# SPDX-License-Identifier: BSD-3-Clause
"""A resume that a checkpoint calls exact is exact, whatever the task keeps and wherever it keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.hosts.gymnasium.foreign_tasks import name_of
from trudi_rsl.checkpoints.file import read_checkpoint, write_checkpoint
from trudi_rsl.hosts.gymnasium import rehearsal
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.hosts.gymnasium.plain import NotPlainError, encode, generator_state, set_generator

STORED = ("nothing", "model", "nested", "lazy", "constructor", "containers", "enum", "generators")
NOT_STORED = {"iterator": "odd", "object": "odd", "raising": "odd", "gone": "odd"}


def make(kind: str, seed: int, task: str = "Foreign") -> GymnasiumVecEnv:
    return GymnasiumVecEnv(name_of(task), 2, seed=seed, env_kwargs={"kind": kind})


def actions(seed: int, steps: int) -> torch.Tensor:
    return 6.0 * torch.rand(steps, 2, 1, generator=torch.Generator().manual_seed(seed)) - 3.0


def outcomes(env: GymnasiumVecEnv, chosen: torch.Tensor) -> list[Any]:
    return [(obs["policy"].tolist(), r.tolist(), d.tolist()) for obs, r, d, _ in (env.step(a) for a in chosen)]


def through_a_file(state: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    write_checkpoint({"env_state": state}, tmp_path / "model_0.pt")
    return read_checkpoint(tmp_path / "model_0.pt")["env_state"]


@pytest.mark.parametrize("task", ["Foreign", "Stacked"])
@pytest.mark.parametrize("kind", STORED)
def test_what_a_task_keeps_in_attributes_objects_and_its_model_continues_bitwise(
    kind: str, task: str, tmp_path: Path
) -> None:
    env = make(kind, 1, task)
    outcomes(env, actions(0, 33))
    saved = through_a_file(env.state_dict(), tmp_path)
    assert saved["exact"] is True
    other = make(kind, 50, task)
    outcomes(other, actions(1, 0 if kind == "lazy" else 7))
    other.load_state_dict(saved)
    assert torch.equal(other.get_observations()["policy"], env.get_observations()["policy"])
    assert outcomes(other, actions(2, 45)) == outcomes(env, actions(2, 45))


@pytest.mark.parametrize("kind", NOT_STORED)
def test_what_cannot_be_stored_is_left_out_and_named_once_and_the_resume_starts_new_episodes(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = make(kind, 1)
    outcomes(env, actions(0, 5))
    env.state_dict()
    outcomes(env, actions(1, 5))
    saved = through_a_file(env.state_dict(), tmp_path)
    assert saved["exact"] is False
    said = capsys.readouterr().out
    assert said.count(f"no checkpoint can hold {NOT_STORED[kind]}") == 1 == said.count("\n")
    with pytest.warns(UserWarning, match=f"starts new episodes: no checkpoint can hold {NOT_STORED[kind]}"):
        make(kind, 2).load_state_dict(saved)


def test_state_outside_of_the_environment_is_found_by_the_rehearsal(capsys: pytest.CaptureFixture[str]) -> None:
    env = make("hidden", 1)
    outcomes(env, actions(0, 40))
    assert env.state_dict()["exact"] is False
    assert "differs in its reward" in capsys.readouterr().out


def test_what_one_environments_constructor_draws_is_found_by_the_rehearsal(capsys: pytest.CaptureFixture[str]) -> None:
    env = GymnasiumVecEnv(name_of("Foreign"), 1, env_kwargs={"kind": "constructor"})
    env.step(torch.zeros(1, 1))
    assert env.state_dict()["exact"] is False
    assert "of the next episode" in capsys.readouterr().out


@pytest.mark.parametrize("steps", [1, 10, rehearsal.LENGTH + 10, rehearsal.FIRST_PAUSE + 10])
def test_a_task_whose_model_change_was_not_saved_would_not_be_called_exact(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trudi_rsl.hosts.gymnasium.mujoco_state import MujocoState

    complete = MujocoState.save
    monkeypatch.setattr(MujocoState, "save", lambda self, env: complete(self, env) | {"model": {}})
    env = make("model", 1)
    outcomes(env, actions(0, steps))
    assert env.state_dict()["exact"] is False


def test_rehearsals_change_neither_the_environments_nor_the_random_numbers_of_training() -> None:
    rehearsed, plain = make("generators", 1), make("generators", 1)
    outcomes(rehearsed, actions(0, 40))
    outcomes(plain, actions(0, 40))
    torch.manual_seed(0)
    np.random.seed(0)
    rehearsed.state_dict()
    assert torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(0)).item()
    assert np.random.rand() == np.random.RandomState(0).rand()
    assert outcomes(rehearsed, actions(1, 40)) == outcomes(plain, actions(1, 40))


@pytest.mark.parametrize("make_generator", [np.random.SFC64, np.random.MT19937, np.random.Philox, np.random.PCG64DXSM])
def test_a_bit_generators_state_is_restored_and_fits_no_other(make_generator: Any, tmp_path: Path) -> None:
    generator = np.random.Generator(make_generator(3))
    generator.standard_normal(5)
    saved = through_a_file({"generator": generator_state(generator)}, tmp_path)["generator"]
    other = np.random.Generator(make_generator(4))
    set_generator(other, saved)
    assert (generator.random(8) == other.random(8)).all()
    with pytest.raises(ValueError, match="random generators are not the task's"):
        set_generator(np.random.Generator(np.random.PCG64(1)), saved)


def test_a_value_that_no_checkpoint_may_hold_is_refused() -> None:
    nested: list[Any] = []
    nested.append(nested)
    for value in (object(), {(0, 1): 2.0}, np.array([object()]), lambda: None, [1, object()], nested):
        with pytest.raises(NotPlainError):
            encode(value)
