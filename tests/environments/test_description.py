# SPDX-License-Identifier: BSD-3-Clause
"""Hosts are registered by their package or found by an entry point, and describe the environments of their managers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trudi_rsl.environments import description
from trudi_rsl.environments.action_bounds import action_bounds
from trudi_rsl.environments.description import HostFunctions, describe_environment, host_functions, register_host


class Manager:
    """An action manager of the simulator ``somesim`` with two terms, one of which has limits."""

    active_terms = ("arm", "gripper")
    action_term_dim = (2, 1)

    def get_term(self, name: str) -> str:
        return name


Manager.__module__ = "somesim.managers"


class ProjectManager(Manager):
    """A project's own, whose module is this test."""


def bounds(term: str) -> tuple[torch.Tensor, torch.Tensor] | None:
    return (torch.tensor([-3.0, -2.0]), torch.tensor([5.0, 2.0])) if term == "arm" else None


@pytest.fixture
def host() -> Iterator[None]:
    register_host("somesim", lambda: HostFunctions(lambda env, groups: {"robot": {"groups": list(groups)}}, bounds))
    yield
    del description._hosts["somesim"]


def make_env() -> Any:
    return SimpleNamespace(num_actions=3, step_dt=0.02, unwrapped=SimpleNamespace(action_manager=ProjectManager()))


@pytest.mark.usefixtures("host")
def test_a_registered_host_gives_description_and_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe_environment(make_env(), ["policy"]) == {"control_period_s": 0.02, "robot": {"groups": ["policy"]}}
    low, high = action_bounds(make_env(), None)
    assert low.tolist() == [-3.0, -2.0, -1.0] and high.tolist() == [5.0, 2.0, 1.0]
    assert "Actions of gripper are taken to be in [-1, 1]" in capsys.readouterr().out


@pytest.mark.parametrize("raises", [False, True])
def test_what_a_host_cannot_read_is_named_with_the_reason(raises: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def describe(env: Any, groups: Any) -> dict[str, Any]:
        return env.no_such_manager if raises else {"robot": {}, "unreadable": {"robot.stiffness": "no_such_gain"}}

    register_host("somesim", lambda: HostFunctions(describe, bounds))
    found = describe_environment(make_env(), ["policy"])
    del description._hosts["somesim"]
    ((name, reason),) = found["unreadable"].items()
    assert name == ("environment" if raises else "robot.stiffness") and "no_such" in reason
    assert found["control_period_s"] == 0.02
    assert f"Exports will lack what could not be read: {name} ({reason})" in capsys.readouterr().out


def test_an_unknown_simulator_has_neither(capsys: pytest.CaptureFixture[str]) -> None:
    assert host_functions(ProjectManager()) is None
    assert describe_environment(make_env(), ["policy"]) == {"control_period_s": 0.02}
    assert action_bounds(make_env(), None)[1].tolist() == [1.0, 1.0, 1.0]
    assert "Actions of arm, gripper" in capsys.readouterr().out


def test_isaac_lab_is_found_in_a_project_that_imports_no_host() -> None:
    program = (
        "from trudi_rsl.environments.description import host_functions\n"
        "manager = type('ActionManager', (), {'__module__': 'isaaclab.managers'})()\n"
        "assert host_functions(manager).describe.__module__ == 'trudi_rsl.hosts.isaaclab.description'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
