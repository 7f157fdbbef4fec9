# SPDX-License-Identifier: BSD-3-Clause
"""From single evaluations to what is compared: groups of seeds, task by task and over all tasks."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.comparison.estimates import (
    Estimate,
    Profile,
    Scores,
    improvement_estimate,
    iqm_estimate,
    profile_of,
    score_matrix,
    thresholds_of,
)
from trudi_rsl.evaluation.comparison.normalization import Range
from trudi_rsl.evaluation.measurement import Measurement

Metric = Literal["return", "success"]
ALL_TASKS = "all tasks"


@dataclass(frozen=True, order=True)
class Group:
    """Policies that differ by their seed alone, under one sampler."""

    label: str
    sampler: str

    def __str__(self) -> str:
        return f"{self.label}, {self.sampler}"


@dataclass(frozen=True)
class Row:
    """One group on one task, in the task's own units; means over the seeds of each seed's mean over episodes."""

    group: Group
    task: str
    iqm: Estimate
    """Of the metric."""
    mean: float
    """Of the metric."""
    std: float
    """Standard deviation of the metric between seeds, NaN for one."""
    success: float | None
    """Share of episodes; None where the task does not tell."""
    length: float
    """Steps per episode."""
    by_seed: dict[str, float]
    """Metric of each seed."""


@dataclass(frozen=True)
class Improvement:
    """The chance that a run of the first group is better than one of the second."""

    first: Group
    second: Group
    estimate: Estimate


@dataclass(frozen=True)
class Panel:
    """Groups compared on one scale."""

    title: str
    """A task's name, or :data:`ALL_TASKS`."""
    scale: str
    """What the numbers are, for an axis."""
    scores: dict[Group, Scores]
    """``[S, J]`` each."""
    iqm: dict[Group, Estimate]
    improvements: list[Improvement]
    thresholds: NDArray[np.float64]
    """Of the profiles, ``[T]``."""
    profiles: dict[Group, Profile]


@dataclass(frozen=True)
class Comparison:
    """All that is said about a set of evaluations."""

    metric: Metric
    rows: list[Row]
    panels: list[Panel]
    notes: list[str] = field(default_factory=list)
    """What a reader must know to read the numbers."""


def compare(
    measurements: Sequence[Measurement],
    ranges: Mapping[str, Range] | None = None,
    by_task: bool = False,
    metric: Metric = "return",
) -> Comparison:
    """Compare groups on each task and, over several tasks, on the normalised scale.

    Args:
        measurements: One per policy and sampler, at least one.
        ranges: To normalise returns by; all tasks must have one unless ``by_task``
            (:func:`~trudi_rsl.evaluation.comparison.normalization.require_ranges`).
        by_task: Leave out what is over all tasks.
        metric: What is compared: returns, or shares of success, which need no ranges.

    Raises:
        ConfigError: If there is nothing to compare, or the metric is success and a task does not tell it.
    """
    if not measurements:
        raise ConfigError("There are no evaluations to compare.")
    silent = sorted({m.task for m in measurements if m.success is None})
    if metric == "success" and silent:
        raise ConfigError(f"{', '.join(silent)} reports no success (is_success or success in its info).")
    grouped = _grouped(measurements)
    tasks = list(dict.fromkeys(m.task for m in measurements))
    values = {key: [_score(run, metric) for run in runs] for key, runs in grouped.items()}
    notes = []
    panels = [
        _panel(task, metric, {group: score_matrix({task: v}) for (group, of), v in values.items() if of == task})
        for task in tasks
    ]
    iqm = {(group, panel.title): estimate for panel in panels for group, estimate in panel.iqm.items()}
    rows = [_row(group, task, runs, iqm[group, task], metric) for (group, task), runs in grouped.items()]
    if len(tasks) > 1 and not by_task:
        unit = {task: Range(0.0, 1.0) for task in tasks}
        scale = unit if metric == "success" else {task: (ranges or {})[task] for task in tasks}
        over_tasks, notes = _over_tasks(values, tasks, scale)
        if over_tasks:
            panels.append(_panel(ALL_TASKS, metric if metric == "success" else "normalised return", over_tasks))
    lacking = {estimate.lack for panel in panels for estimate in panel.iqm.values()} - {""}
    if lacking:
        notes.append(
            f"Intervals are left out where there are too few seeds ({'; '.join(sorted(lacking))}): the bootstrap would "
            "return the range of the scores."
        )
    return Comparison(metric, rows, panels, notes)


def _grouped(measurements: Sequence[Measurement]) -> dict[tuple[Group, str], list[Measurement]]:
    """Return the runs of each group and task, lowest seeds first."""
    grouped: dict[tuple[Group, str], list[Measurement]] = {}
    for measurement in measurements:
        key = (Group(measurement.label, measurement.sampler), measurement.task)
        grouped.setdefault(key, []).append(measurement)
    for runs in grouped.values():
        runs.sort(key=lambda run: (run.seed is None, run.seed or 0))
    return grouped


def _score(run: Measurement, metric: Metric) -> float:
    return statistics.fmean((run.success or []) if metric == "success" else run.returns)


def _row(group: Group, task: str, runs: Sequence[Measurement], iqm: Estimate, metric: Metric) -> Row:
    scores = [_score(run, metric) for run in runs]
    told = [statistics.fmean(run.success) for run in runs if run.success is not None]
    return Row(
        group,
        task,
        iqm,
        statistics.fmean(scores),
        statistics.stdev(scores) if len(scores) > 1 else float("nan"),
        statistics.fmean(told) if told else None,
        statistics.fmean(statistics.fmean(run.lengths) for run in runs),
        {_seed_name(run, runs): score for run, score in zip(runs, scores, strict=True)},
    )


def _seed_name(run: Measurement, runs: Sequence[Measurement]) -> str:
    return f"#{runs.index(run) + 1}" if run.seed is None else str(run.seed)


def _over_tasks(
    values: Mapping[tuple[Group, str], Sequence[float]], tasks: Sequence[str], scale: Mapping[str, Range]
) -> tuple[dict[Group, Scores], list[str]]:
    """Return the normalised scores of the groups that ran on all tasks, and what was left out."""
    scores, notes = {}, []
    for group in dict.fromkeys(group for group, _ in values):
        absent = [task for task in tasks if (group, task) not in values]
        if absent:
            notes.append(f"{group} is left out over all tasks: it has no run on {', '.join(absent)}.")
            continue
        by_task = {task: [scale[task].score(value) for value in values[group, task]] for task in tasks}
        counts = {task: len(entries) for task, entries in by_task.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{count} on {task}" for task, count in counts.items())
            notes.append(f"{group} has {listed} seeds; over all tasks the lowest {min(counts.values())} of each count.")
        scores[group] = score_matrix(by_task)
    return scores, notes


def _panel(title: str, scale: str, scores: dict[Group, Scores]) -> Panel:
    thresholds = thresholds_of(list(scores.values()))
    pairs = [
        (first, second)
        for first, second in itertools.combinations(scores, 2)
        if first.label == second.label or first.sampler == second.sampler
    ]
    return Panel(
        title,
        scale,
        scores,
        {group: iqm_estimate(matrix) for group, matrix in scores.items()},
        [Improvement(a, b, improvement_estimate(scores[a], scores[b])) for a, b in pairs],
        thresholds,
        {group: profile_of(matrix, thresholds) for group, matrix in scores.items()},
    )
