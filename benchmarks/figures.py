# SPDX-License-Identifier: BSD-3-Clause
"""Figures of docs/results.md."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from trudi_rsl.evaluation.statistics import Estimate

COLORS = {
    "trudi": "#1f5fbf",
    "reppo": "#3f9b57",
    "dime": "#8a5cc2",
    "ppo": "#d9822b",
    "spo": "#b5a21c",
    "dppo": "#c2455e",
    "fpo": "#6b6b6b",
}
LABELS = {"trudi": "TruDi", "reppo": "Gaussian sibling (REPPO)", "dime": "DIME", "ppo": "PPO (RSL-RL)"}
LABELS |= {algo: algo.upper() for algo in ("spo", "dppo", "fpo")}
PARTS = {
    "simulate": "#8a8a8a",
    "sample": "#7fb3e6",
    "store": "#c9c9c9",
    "targets": "#a6d49f",
    "critic step": "#d9822b",
    "actor step": "#1f5fbf",
    "update": "#d9b48f",
}


def learning_curves(
    records: dict[tuple[str, str, str], list[dict[str, Any]]], path: Path, budget: int | None = None
) -> None:
    """Draw the median over seeds, and each seed thinly, against environment steps, one panel per task.

    Args:
        records: Runs by task, algorithm and variant.
        path: PNG file to write.
        budget: Environment steps at which medians end; None takes each task's shortest run.
    """
    tasks = list(dict.fromkeys(task for task, _, _ in records))
    fig, axes = plt.subplots(1, len(tasks), figsize=(3.6 * len(tasks), 3.2), squeeze=False, constrained_layout=True)
    for axis, task in zip(axes[0], tasks, strict=True):
        for algo in LABELS:
            runs = records.get((task, algo, "preset"), [])
            if not runs:
                continue
            for run in runs:
                axis.plot(np.array(run["env_steps"]) / 1e3, run["returns"], color=COLORS[algo], lw=0.6, alpha=0.45)
            start = max(run["env_steps"][0] for run in runs)
            grid = np.linspace(start, budget or min(run["env_steps"][-1] for run in runs), 100)
            curves = [np.interp(grid, run["env_steps"], run["returns"]) for run in runs]
            axis.plot(grid / 1e3, np.median(curves, axis=0), color=COLORS[algo], lw=2, label=LABELS[algo])
        axis.set(title=f"{task}, medians over seeds", xlabel="environment steps [thousands]")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("training return (last 100 episodes)")
    axes[0][0].legend(frameon=False, fontsize=8)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def variants(records: dict[tuple[str, str, str], list[dict[str, Any]]], path: Path) -> None:
    """Draw the median and the range over seeds of each variant against environment steps, one panel per task."""
    tasks = sorted({task for task, _, _ in records})
    names = list(dict.fromkeys(variant for _, _, variant in records))
    fig, axes = plt.subplots(1, len(tasks), figsize=(4.6 * len(tasks), 3.6), squeeze=False, constrained_layout=True)
    for axis, task in zip(axes[0], tasks, strict=True):
        for (of, _, variant), runs in records.items():
            if of == task:
                _band(axis, runs, "env_steps", 1e-3, f"C{names.index(variant)}", variant)
        axis.set(title=task, xlabel="environment steps [thousands]")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("training return (last 100 episodes)")
    axes[0][0].legend(frameon=False, fontsize=8)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def wall_clock(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw returns against seconds of training and against environment steps, one row per task."""
    tasks = list(dict.fromkeys(run["task"] for run in runs))
    fig, axes = plt.subplots(len(tasks), 2, figsize=(9.2, 3.4 * len(tasks)), squeeze=False, constrained_layout=True)
    for row, task in zip(axes, tasks, strict=True):
        for algo, color in COLORS.items():
            group = [run for run in runs if run["task"] == task and run["algo"] == algo]
            _band(row[0], group, "seconds", 1.0, color, LABELS[algo])
            _band(row[1], group, "env_steps", 1e-3, color, LABELS[algo])
        row[0].set(title=task, xlabel="seconds of training", ylabel="training return")
        row[1].set(title=task, xlabel="environment steps [thousands]")
        for axis in row:
            axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].legend(frameon=False, fontsize=8)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def _band(axis: Axes, runs: list[dict[str, Any]], against: str, scale: float, color: str, label: str) -> None:
    """Draw the median of runs over a shade from the lowest to the highest of them."""
    if not runs:
        return
    grid = np.linspace(max(run[against][0] for run in runs), min(run[against][-1] for run in runs), 100)
    curves = [np.interp(grid, run[against], run["returns"]) for run in runs]
    axis.plot(scale * grid, np.median(curves, axis=0), color=color, lw=1.8, label=label)
    axis.fill_between(scale * grid, np.min(curves, axis=0), np.max(curves, axis=0), color=color, alpha=0.13, lw=0)


def ablation(scores: dict[str, list[float]], path: Path, unchanged: str) -> None:
    """Draw the returns of every seed by variant, best median on top, that of the unchanged settings in colour."""
    ranked = sorted(scores.items(), key=lambda item: statistics.median(item[1]))
    fig, axis = plt.subplots(figsize=(7, 0.36 * len(ranked) + 1), constrained_layout=True)
    for height, (variant, values) in enumerate(ranked):
        color = "#1f5fbf" if variant == unchanged else "#555555"
        axis.plot(values, [height] * len(values), "o", color=color, ms=4.5, alpha=0.7)
        axis.plot([statistics.median(values)], [height], "|", color=color, ms=16, mew=2.2)
    axis.set_yticks(range(len(ranked)), [variant for variant, _ in ranked])
    axis.set_xlabel("training return of each seed; bar: median")
    axis.grid(axis="x", lw=0.4)
    axis.spines[["top", "right", "left"]].set_visible(False)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def time_shares(result: dict[str, Any], path: Path) -> None:
    """Draw where an iteration's time goes, one bar per run."""
    runs = result["runs"]
    fig, axis = plt.subplots(figsize=(7, 0.5 * len(runs) + 1.3), constrained_layout=True)
    labelled: set[str] = set()
    for height, (_, run) in enumerate(runs.items()):
        seconds, left = run["seconds_per_iteration"], 0.0
        learner = "actor step" in seconds
        for part, color in PARTS.items():
            if part not in seconds or (part == "update" and learner):
                continue
            width = 1e6 * seconds[part] / run["env_steps_per_iteration"]
            label = None if part in labelled else "update of PPO" if part == "update" else part
            labelled.add(part)
            axis.barh(height, width, left=left, color=color, label=label)
            left += width
    axis.set_yticks(range(len(runs)), list(runs))
    axis.invert_yaxis()
    axis.set_xlabel("microseconds per environment step")
    axis.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.3))
    axis.spines[["top", "right"]].set_visible(False)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def latency(runs: dict[str, Any], runtimes: Sequence[str], path: Path) -> None:
    """Draw median, 99th percentile and longest call of every policy and runtime."""
    fig, axis = plt.subplots(figsize=(6.4, 3.6), constrained_layout=True)
    for i, runtime in enumerate(runtimes):
        timed = {place: run[runtime] for place, run in enumerate(runs.values()) if runtime in run}
        places = np.array(list(timed)) + 0.16 * (2 * i - 1)
        times = {part: [of[part] for of in timed.values()] for part in ("p50", "p99", "worst")}
        axis.vlines(places, times["p50"], times["worst"], color=f"C{i}", lw=1)
        axis.plot(places, times["p50"], "o", color=f"C{i}", ms=5, label=f"{runtime}, median")
        axis.plot(places, times["p99"], "_", color=f"C{i}", ms=12, mew=2, label=f"{runtime}, 99 %; line: longest")
    axis.set_xticks(range(len(runs)), [name.replace(", ", "\n") for name in runs])
    axis.set(yscale="log", ylabel="milliseconds per action")
    axis.grid(axis="y", lw=0.4)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def return_against_latency(kept: dict[str, dict[str, Estimate]], milliseconds: dict[str, float], path: Path) -> None:
    """Draw the share of the return that exported variants keep against the time of all but one call in a hundred."""
    fig, axis = plt.subplots(figsize=(6.4, 3.6), constrained_layout=True)
    order = sorted(milliseconds, key=lambda name: milliseconds[name])
    for i, (task, shares) in enumerate(kept.items()):
        # side by side, or their intervals would hide each other
        places = np.array([milliseconds[name] for name in order]) * (1.0 + 0.02 * i)
        for place, name in zip(places, order, strict=True):
            bounds = shares[name].interval
            if bounds is not None:
                axis.vlines(place, *bounds, color=f"C{i}", lw=1)
        axis.plot(places, [shares[name].value for name in order], "o", color=f"C{i}", ms=5, label=task)
    axis.set_xscale("log")
    axis.set_xticks([milliseconds[name] for name in order], [name.replace(", ", "\n") for name in order], fontsize=7)
    axis.minorticks_off()
    axis.set(xlabel="milliseconds per action, 99 % within (positions to scale)", ylabel="share of the return kept")
    axis.grid(axis="y", lw=0.4)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def long_runs(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the training return and the memory of long trainings over iterations."""
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 4.6), sharex=True)
    for record in records:
        iterations = np.linspace(0, record["iterations"], len(record["returns"]))
        top.plot(iterations, record["returns"], linewidth=0.8, label=f"seed {record['seed']}")
        seconds, megabytes = np.array([sample for sample in record["memory_s_mb"] if sample[1] > 0.0]).T
        bottom.plot(seconds / seconds[-1] * record["iterations"], megabytes, linewidth=0.8)
    top.set_ylabel("training return")
    top.legend(frameon=False)
    bottom.set_ylabel("memory, MB")
    bottom.set_ylim(bottom=0.0)
    bottom.set_xlabel(f"iteration ({records[0]['task']})")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
