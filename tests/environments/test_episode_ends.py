# SPDX-License-Identifier: BSD-3-Clause
"""Terminations are distinguished from time limits by the best source that an environment has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.environments import episode_ends as module
from trudi_rsl.environments.episode_ends import episode_ends, last_observations

FALLS, DUE = torch.tensor([1, 0, 1, 0]), torch.tensor([0, 1, 1, 0])
"""Environment 0 falls, 1 reaches its time limit, 2 does both, 3 goes on."""
DONES = FALLS | DUE
NOT_MASKS = [None, True, 1.0, [1, 0, 1, 0], torch.ones(3, dtype=torch.bool), "fell"]


def ends(env: Any, **extras: Any) -> tuple[list[int], list[int]]:
    """Return the environments that terminated and those that were truncated."""
    terminated, truncated = episode_ends(env, DONES, extras)
    assert terminated.dtype == truncated.dtype == torch.bool and not (terminated & truncated).any()
    return terminated.nonzero().flatten().tolist(), truncated.nonzero().flatten().tolist()


def has(name: str, value: Any) -> Any:
    return SimpleNamespace(**{name: value})


@pytest.mark.parametrize("name", ["reset_terminated", "torch_reset_terminated"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_fall_in_the_step_of_the_time_limit_terminates_if_the_environment_knows_of_it(
    name: str, wrapped: bool
) -> None:
    env = has(name, FALLS.bool())
    assert ends(has("unwrapped", env) if wrapped else env, time_outs=DUE) == ([0, 2], [1])


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("dtype", [torch.bool, torch.long, torch.float32])
def test_what_the_step_reports_counts_before_the_environments_attribute(shape: tuple, dtype: torch.dtype) -> None:
    env = has("reset_terminated", torch.zeros(4, dtype=torch.bool))
    reported = FALLS.to(dtype).reshape(shape)
    assert ends(env, terminated=reported, time_outs=DUE) == ([0, 2], [1])
    assert ends(env, terminated=reported) == ([0, 2], [1])


def test_without_either_a_time_out_is_a_truncation_and_without_time_outs_nothing_is() -> None:
    assert ends(None, time_outs=DUE.float()) == ([0], [1, 2])
    assert ends(SimpleNamespace()) == ([0, 1, 2], [])
    # finite horizon: the time limit is part of the task
    assert ends(has("reset_terminated", FALLS.bool())) == ([0, 1, 2], [])


@pytest.mark.parametrize("value", NOT_MASKS, ids=str)
def test_a_foreign_value_of_the_same_name_is_ignored(value: Any) -> None:
    assert ends(has("reset_terminated", value), terminated=value, time_outs=DUE) == ([0], [1, 2])


def test_an_environment_that_goes_on_has_not_ended_whatever_else_is_reported() -> None:
    everything = torch.ones(4)
    terminated, truncated = episode_ends(None, torch.zeros(4), {"terminated": everything, "time_outs": everything})
    assert not terminated.any() and not truncated.any()


def groups(**values: Tensor) -> TensorDict:
    return TensorDict(values, batch_size=[4])


@pytest.mark.parametrize(
    ("final", "why"),
    [
        ({"other": torch.zeros(4, 3)}, "lack the group 'policy'"),
        ({"policy": torch.zeros(4, 2)}, "(4, 2) instead of (4, 3)"),
        (torch.zeros(4, 3), "a Tensor and no observation groups"),
        ([None, None, torch.zeros(3), None], "a list and no observation groups"),
    ],
    ids=["group", "shape", "tensor", "list"],
)
def test_last_observations_of_another_form_are_none_and_the_reason_is_logged_once(
    final: Any, why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_warned", set())
    obs = groups(policy=torch.ones(4, 3))
    for _ in range(2):
        assert last_observations({"final_obs": final}, obs, ["policy"]) is None
    output = capsys.readouterr().out
    assert output.count("are ignored") == 1
    assert why in output


def test_a_buffer_that_a_reset_overwrites_holds_no_last_observation() -> None:
    buffer, last = torch.ones(4, 3), torch.zeros(4, 3)
    extras = {"final_obs": {"policy": buffer}}
    assert last_observations(extras, groups(policy=buffer), ["policy"]) is None
    kept = last_observations({"final_obs": {"policy": last, "other": buffer}}, groups(policy=buffer), ["policy"])
    assert kept is not None and kept["policy"] is last
    assert last_observations({}, groups(policy=buffer), ["policy"]) is None
