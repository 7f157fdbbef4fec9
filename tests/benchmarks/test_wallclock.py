# SPDX-License-Identifier: BSD-3-Clause
"""Wall-clock comparisons count the seconds to the same return, and say so where it was not reached."""

import math
import statistics

import wallclock


def run(algo: str, seed: int, returns: list[float], seconds_per_iteration: float) -> dict:
    """Return a run with one return per iteration."""
    seconds = [seconds_per_iteration * (i + 1) for i in range(len(returns))]
    return {"task": "T", "algo": algo, "seed": seed, "returns": returns, "seconds": seconds}


def test_seconds_are_those_to_the_first_iteration_at_the_level() -> None:
    learned = run("trudi", 1, [1.0, 5.0, 3.0, 6.0], 10.0)
    assert wallclock.seconds_to(learned, 5.0) == 20.0
    assert wallclock.seconds_to(learned, 5.5) == 40.0
    assert wallclock.seconds_to(learned, 7.0) == math.inf


def test_the_level_is_ppos_median_at_the_end_of_its_runs() -> None:
    ppo = [run("ppo", seed, [0.0, final], 2.0) for seed, final in ((1, 4.0), (2, 5.0), (3, 9.0))]
    ours = [run("trudi", seed, [4.9, 5.0], 3.0) for seed in (2, 1)]
    result = wallclock.summary([*ppo, *ours])
    assert {of["level"] for of in result.values()} == {5.0}
    assert result["trudi"]["seconds"] == [6.0, 6.0]
    assert result["trudi"]["seeds"] == [1, 2]
    assert statistics.median(result["ppo"]["seconds"]) == 4.0
    assert result["ppo"]["seconds"][0] == math.inf


def test_runs_of_different_tasks_are_not_compared() -> None:
    runs = [run("ppo", 1, [1.0], 1.0), run("ppo", 1, [1.0], 1.0) | {"task": "U"}]
    assert {task: len(group) for task, group in wallclock.by_task(runs).items()} == {"T": 1, "U": 1}
