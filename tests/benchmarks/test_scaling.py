# SPDX-License-Identifier: BSD-3-Clause
"""Scaling is the share of its rate alone that a process keeps beside others."""

from __future__ import annotations

import scaling


def group(cores: list[int], steps: int, seconds: list[float]) -> dict:
    return {"cores": cores, "env_steps_per_iteration": steps, "seconds_per_iteration": seconds}


def test_efficiency_is_1_if_two_processes_do_twice_the_work_in_the_time_of_one() -> None:
    one = [[group([0], 100, [1.0, 9.0, 1.0])], [group([0], 100, [2.0])]]
    runs = {
        scaling.ONE: one,
        scaling.TOGETHER: [[group([0, 1], 200, [1.0])], [group([0, 1], 200, [2.0])]],
        scaling.APART: [[group([core], 100, [seconds]) for core in (0, 1)] for seconds in (2.0, 4.0)],
    }
    assert scaling.efficiency(runs, scaling.TOGETHER) == 1.0
    assert scaling.efficiency(runs, scaling.APART) == 0.5
