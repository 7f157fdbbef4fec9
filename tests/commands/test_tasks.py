# SPDX-License-Identifier: BSD-3-Clause
"""``trudi tasks``: what can be trained here, and how to install the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trudi_rsl.commands import tasks
from trudi_rsl.hosts.registry import HostTasks, find_host

GYMNASIUM = find_host("HalfCheetah-v5")


def test_tasks_that_train_here_are_listed_by_host_in_lines_that_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    tasks.main([])
    printed = capsys.readouterr().out
    assert {"HalfCheetah-v5", "PlanarObstacle-v0", "PlanarPushT-v0"} <= set(printed.split())
    assert max(map(len, printed.splitlines())) <= 80
    listed, _, left_out = printed.partition("Not trained here.")
    assert "CartPole-v1" not in listed and "Pendulum-v1" in listed.split()
    assert "vectors of numbers: Acrobot-v1, " in " ".join(left_out.split())
    tasks.main(["CHEETAH", "--host", "gymnasium"])
    words = capsys.readouterr().out.split()
    assert "HalfCheetah-v5" in words and "Hopper-v5" not in words


def test_a_host_that_is_not_installed_or_does_not_start_says_what_to_do() -> None:
    host = replace(GYMNASIUM, name="far", title="Far", install="Run: pip install far", patterns=("Far-*",))
    described = tasks.describe(HostTasks(host, False), [], 200)
    assert described == "Far (far): not installed. Run: pip install far. Its tasks: Far-*."
    assert "no GPU" in tasks.describe(HostTasks(host, True, problem="RuntimeError: no GPU"), [], 200)


@pytest.mark.parametrize("width", [10, 30, 80])
def test_columns_hold_every_name_once_in_order(width: int) -> None:
    names = [f"task-{i:03}" for i in range(37)]
    rows = [line.split() for line in tasks.columns(names, width)]
    assert [row[column] for column in range(len(rows[0])) for row in rows if column < len(row)] == names
    assert max(map(len, tasks.columns(names, width))) <= max(width, 10)
