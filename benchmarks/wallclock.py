# SPDX-License-Identifier: BSD-3-Clause
"""How long TruDi, its Gaussian sibling and PPO take to the return that PPO has after a million steps.

HalfCheetah-v5 by `scripts/train.py`, one run at a time on all cores. Run it on an otherwise idle machine; results are
those of `learning.py`'s table `wallclock`, and a run whose result exists is not repeated. What `mjlab_cartpole.py` has
measured is compared likewise.

    python benchmarks/wallclock.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

import numpy as np
from jobs import learning_jobs
from learning import RESULTS, run_all


def seconds_to(run: dict[str, Any], level: float) -> float:
    """Return the training seconds until the training return first reaches ``level``; infinity if it never does."""
    reached = np.asarray(run["returns"]) >= level
    return run["seconds"][int(reached.argmax())] if reached.any() else float("inf")


def summary(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, by algorithm, its seconds by seed to PPO's median return at its last step, and their median."""
    by_algo: dict[str, list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        by_algo.setdefault(run["algo"], []).append(run)
    level = statistics.median(run["returns"][-1] for run in by_algo["ppo"])
    return {
        algo: {
            "level": level,
            "seconds": [seconds_to(run, level) for run in group],
            "total_seconds": [run["seconds"][-1] for run in group],
            "final_returns": [run["returns"][-1] for run in group],
            "seeds": [run["seed"] for run in group],
        }
        for algo, group in by_algo.items()
    }


def stored_runs() -> list[dict[str, Any]]:
    """Return the runs measured so far, HalfCheetah's first."""
    files = [*sorted(RESULTS.glob("wallclock_*.json")), *sorted((RESULTS.parent / "mjlab").glob("*.json"))]
    runs = [json.loads(path.read_text()) for path in files]
    # runs from before this was asked have not kept their times
    return [run for run in runs if "seconds" in run]


def by_task(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of each task."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        grouped.setdefault(run["task"], []).append(run)
    return grouped


def main() -> None:
    """Measure what is missing and print the comparison."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    failed = run_all(learning_jobs({"wallclock"}))
    for task, runs in by_task(stored_runs()).items():
        for algo, result in summary(runs).items():
            by_seed = ", ".join(f"{s:.0f}" for s in result["seconds"])
            median = statistics.median(result["seconds"])
            print(f"{task}, {algo}: return {result['level']:.0f} after {median:.0f} s (median), by seed {by_seed}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
