# SPDX-License-Identifier: BSD-3-Clause
"""Why nothing walks on Ant-v5 within the budget: what the task pays, and what is learned without its control cost."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Records = Mapping[tuple[str, str, str], list[dict[str, Any]]]
Table = Callable[[list[str], list[list[str]]], str]


def section(long: Records, cost: Records, baselines: Path, names: Mapping[str, str], table: Table) -> str:
    """Return the text and the table.

    Args:
        long: Runs beyond the budget.
        cost: Runs within it without control cost.
        baselines: What ``ant_baselines.py`` measured.
        names: Algorithms to their names, in the order of the rows.
        table: Makes a table of a header and rows.
    """
    policies = json.loads(baselines.read_text())["policies"]
    still, drawn = policies["doing nothing"], policies["uniform random actions"]
    rows = [
        [
            variant,
            names[algo],
            f"{runs[0]['env_steps'][-1] // 1000}k",
            ", ".join(f"{run['returns'][-1]:.0f}" for run in runs),
            ", ".join(f"{statistics.mean(run['evaluation']['ode_from_zeros']):.0f}" for run in runs),
            ", ".join(str(run["seed"]) for run in runs),
        ]
        for records in (long, cost)
        for (_, algo, variant), runs in sorted(records.items(), key=lambda item: list(names).index(item[0][1]))
    ]
    header = ["Ant-v5", "algorithm", "env steps", "training", "exported policy", "seeds"]
    return (
        "On Ant-v5 nothing walks within this budget, all algorithms alike, RSL-RL's own PPO too. The task pays "
        f"{drawn['reward_survive']:.2f} per step for staying up and takes {-drawn['reward_ctrl']:.2f} per step for "
        "uniform random actions (`benchmarks/ant_baselines.py`): while actions are spread widely, the sooner an "
        "episode ends the better, and that is what is learned first. "
        f"Doing nothing would give {still['return']:.0f}, random actions {drawn['return']:.0f} in "
        f"{drawn['length']:.0f} steps. Policies whose mean stays near zero, as SPO's does, therefore stand when they "
        "are exported without noise (below). A million steps do not lead out of it; without the control cost the same "
        "presets stand and walk within the budget. There REPPO is ahead of TruDi's preset, and most of that goes with "
        "the pathwise gradient in place of adjoint matching:\n\n" + table(header, rows)
    )
