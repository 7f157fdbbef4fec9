# SPDX-License-Identifier: BSD-3-Clause
"""The section of docs/results.md about what ``deployed.py`` measured."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figures
import numpy as np
import sim_to_sim
from deployed import EPISODES, MULTIMODAL, SEEDS, VARIANTS
from latency import NUM_ACTIONS, NUM_OBS
from scipy.stats import t as student

from trudi_rsl.evaluation.statistics import Estimate, iqm_estimate

TEMPLATE = Path(__file__).with_name("deployed.md.in")
WHOLE = "N = 8"
"""The variant that the others are compared with."""
TableWriter = Callable[[list[str], list[list[str]]], str]


def section(folder: Path, latency_file: Path, docs: Path, table: TableWriter) -> str:
    """Return the section and draw its figure; an empty text where nothing has been measured.

    Args:
        folder: Folder of the JSON files.
        latency_file: What ``latency.py`` measured.
        docs: Folder of the figure.
        table: Makes a Markdown table of a header and rows.
    """
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    runs = {task: [record for record in records if record["task"] == task] for task in SEEDS}
    runs = {task: found for task, found in runs.items() if found}
    if not runs or not latency_file.exists():
        return ""
    timed = json.loads(latency_file.read_text())["runs"]
    milliseconds = {name: timed[name]["ONNX Runtime"]["p99"] for name in VARIANTS}
    kept = {task: shares(found) for task, found in runs.items()}
    figures.return_against_latency(kept, milliseconds, docs / "deployed.png")
    return TEMPLATE.read_text().format(
        episodes=EPISODES,
        seeds=", ".join(f"{task} {min(seeds_of(found))} to {max(seeds_of(found))}" for task, found in runs.items()),
        returns=table(["variant", "99 % within, ms", *runs], returns_rows(runs, milliseconds)),
        behaviours=table(
            ["variant", "H in bits, median", "H by seed", "runs that succeed"], behaviour_rows(runs.get(MULTIMODAL, []))
        ),
        sim_task=sim_to_sim.TASK,
        sim_episodes=sim_to_sim.EPISODES,
        sim_to_sim=table(
            ["seed", "training simulator", "plain MuJoCo"], sim_to_sim_rows(folder.with_name("sim_to_sim"))
        ),
        shape=f"{NUM_OBS} observations and {NUM_ACTIONS} actions",
    )


def seeds_of(runs: list[dict[str, Any]]) -> list[int]:
    """Return the seeds of the training runs."""
    return [run["seed"] for run in runs]


def mean_returns(runs: list[dict[str, Any]], variant: str) -> list[float]:
    """Return the mean return of a variant, one for each seed."""
    return [statistics.mean(run["variants"][variant]["returns"]) for run in runs]


def shares(runs: list[dict[str, Any]]) -> dict[str, Estimate]:
    """Return what share of the whole chain's return of the same seed each variant keeps, over the seeds."""
    whole = np.array(mean_returns(runs, WHOLE))
    return {name: iqm_estimate((np.array(mean_returns(runs, name)) / whole)[:, None]) for name in VARIANTS}


def returns_rows(runs: dict[str, list[dict[str, Any]]], milliseconds: dict[str, float]) -> list[list[str]]:
    """Return a row for each variant: its latency, and for each task the returns by seed and the share it keeps."""
    kept = {task: shares(found) for task, found in runs.items()}
    rows = []
    for name in VARIANTS:
        cells = []
        for task, found in runs.items():
            by_seed = mean_returns(found, name)
            digits = 0 if max(map(abs, by_seed)) >= 100 else 2
            share = kept[task][name]
            bounds = "" if share.interval is None else f" [{share.interval[0]:.2f}, {share.interval[1]:.2f}]"
            cells.append(f"{', '.join(f'{value:.{digits}f}' for value in by_seed)}: **{share.value:.2f}**{bounds}")
        rows.append([name, f"{milliseconds[name]:.2f}", *cells])
    return rows


def sim_to_sim_rows(folder: Path) -> list[list[str]]:
    """Return a row for each seed: the mean return in both simulators."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        cells = []
        for simulator in ("training_simulator", "plain_mujoco"):
            returns = np.array(record[simulator])
            # of a normal mean with unknown deviation
            half = student.ppf(0.975, len(returns) - 1) * returns.std(ddof=1) / np.sqrt(len(returns))
            cells.append(f"{returns.mean():.0f} [{returns.mean() - half:.0f}, {returns.mean() + half:.0f}]")
        rows.append([str(record["seed"]), *cells])
    return rows


def behaviour_rows(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each variant: which behaviours it shows."""
    rows = []
    for name in VARIANTS if runs else ():
        seen = [run["variants"][name]["behaviour"] for run in runs]
        entropies = [of["behaviour_entropy_bits"] for of in seen]
        rows.append(
            [
                name,
                f"**{statistics.median(e or 0.0 for e in entropies):.2f}**",
                ", ".join("-" if e is None else f"{e:.2f}" for e in entropies),
                f"{statistics.mean(1.0 - of['failures'] / of['num_runs'] for of in seen):.0%}",
            ]
        )
    return rows
