# SPDX-License-Identifier: BSD-3-Clause
"""Comparison of policies: groups of seeds, task by task and over all tasks on one normalised scale."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal

from numpy import float64
from numpy.typing import NDArray

from trudi_rsl.config.yaml_file import read_yaml
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.evaluation import statistics
from trudi_rsl.evaluation.statistics import Estimate, Profile, Scores

if TYPE_CHECKING:
    from trudi_rsl.evaluation.measurement import Measurement

Metric = Literal["return", "success"]
ALL_TASKS = "all tasks"


@dataclass(frozen=True)
class Range:
    """Returns of a task that count as 0 and as 1, such as those of a random and of a good policy."""

    low: float
    high: float

    def score(self, value: float) -> float:
        """Return ``(value - low) / (high - low)``."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, order=True)
class Group:
    """Policies that differ only by their seed, with one sampler."""

    label: str
    sampler: str

    def __str__(self) -> str:
        return f"{self.label}, {self.sampler}"


@dataclass(frozen=True)
class Row:
    """One group on one task: statistics over seeds of the metric's mean over episodes, in the task's own units."""

    group: Group
    task: str
    iqm: Estimate
    mean: float
    std: float
    """NaN for one seed."""
    success: float | None
    """Share of episodes; None if the task reports none."""
    length: float
    """Steps per episode."""
    by_seed: dict[str, float]
    """Metric of each seed."""


@dataclass(frozen=True)
class Panel:
    """Groups compared on one scale."""

    title: str
    """A task's name, or :data:`ALL_TASKS`."""
    scale: str
    """Name of the numbers, for an axis."""
    scores: dict[Group, Scores]
    iqm: dict[Group, Estimate]
    improvements: dict[tuple[Group, Group], Estimate]
    """The probability that a run of the first group is better than one of the second."""
    thresholds: NDArray[float64]
    """Of the profiles, ``[T]``."""
    profiles: dict[Group, Profile]


@dataclass(frozen=True)
class Comparison:
    """All statistics of a set of evaluations."""

    metric: Metric
    rows: list[Row]
    panels: list[Panel]
    notes: list[str] = field(default_factory=list)
    """Caveats for the reader."""


def compare(
    measurements: Sequence[Measurement],
    ranges: Mapping[str, Range] | None = None,
    by_task: bool = False,
    metric: Metric = "return",
) -> Comparison:
    """Compare groups on each task and, if there are several tasks, on the normalised scale.

    There is one measurement per policy and sampler. Returns are normalised by ranges; all tasks need one unless
    ``by_task`` leaves out the comparison over all tasks (:func:`require_ranges`).

    Raises:
        ConfigError: If there is nothing to compare, or the metric is success and a task reports none.
    """
    if not measurements:
        raise ConfigError("There are no evaluations to compare.")
    silent = sorted({m.task for m in measurements if m.success is None})
    if metric == "success" and silent:
        raise ConfigError(f"{', '.join(silent)} reports no success (is_success or success in its info).")
    grouped: dict[tuple[Group, str], list[Measurement]] = {}
    for measurement in measurements:
        grouped.setdefault((Group(measurement.label, measurement.sampler), measurement.task), []).append(measurement)
    for runs in grouped.values():
        runs.sort(key=lambda run: (run.seed is None, run.seed or 0))
    values = {key: [_score(run, metric) for run in runs] for key, runs in grouped.items()}
    tasks = list(dict.fromkeys(m.task for m in measurements))
    panels = [
        _panel(
            task, metric, {group: statistics.score_matrix({task: v}) for (group, of), v in values.items() if of == task}
        )
        for task in tasks
    ]
    iqm = {(group, panel.title): estimate for panel in panels for group, estimate in panel.iqm.items()}
    rows = [_row(group, task, runs, iqm[group, task], metric) for (group, task), runs in grouped.items()]
    notes = []
    if len(tasks) > 1 and not by_task:
        scale = {task: Range(0.0, 1.0) if metric == "success" else (ranges or {})[task] for task in tasks}
        scores, notes = _normalize(values, tasks, scale)
        if scores:
            panels.append(_panel(ALL_TASKS, metric if metric == "success" else "normalised return", scores))
    if lacking := {estimate.lack for panel in panels for estimate in panel.iqm.values()} - {""}:
        notes.append(
            f"Intervals are left out where there are too few seeds ({'; '.join(sorted(lacking))}): the bootstrap would "
            "return the range of the scores."
        )
    return Comparison(metric, rows, panels, notes)


def _score(run: Measurement, metric: Metric) -> float:
    return fmean((run.success or []) if metric == "success" else run.returns)


def _row(group: Group, task: str, runs: Sequence[Measurement], iqm: Estimate, metric: Metric) -> Row:
    scores = [_score(run, metric) for run in runs]
    successes = [_score(run, "success") for run in runs if run.success is not None]
    names = [f"#{index}" if run.seed is None else str(run.seed) for index, run in enumerate(runs, 1)]
    return Row(
        group,
        task,
        iqm,
        fmean(scores),
        stdev(scores) if len(scores) > 1 else math.nan,
        fmean(successes) if successes else None,
        fmean(fmean(run.lengths) for run in runs),
        dict(zip(names, scores, strict=True)),
    )


def _normalize(
    values: Mapping[tuple[Group, str], Sequence[float]], tasks: Sequence[str], scale: Mapping[str, Range]
) -> tuple[dict[Group, Scores], list[str]]:
    """Return the normalised scores of the groups that ran on all tasks, and notes on what was left out."""
    scores, notes = {}, []
    for group in dict.fromkeys(group for group, _ in values):
        absent = [task for task in tasks if (group, task) not in values]
        if absent:
            notes.append(f"{group} is left out over all tasks: it has no run on {', '.join(absent)}.")
            continue
        by_task = {task: [scale[task].score(value) for value in values[group, task]] for task in tasks}
        counts = [len(entries) for entries in by_task.values()]
        if len(set(counts)) > 1:
            listed = ", ".join(f"{count} on {task}" for task, count in zip(tasks, counts, strict=True))
            notes.append(f"{group} has {listed} seeds; over all tasks the lowest {min(counts)} of each are used.")
        scores[group] = statistics.score_matrix(by_task)
    return scores, notes


def _panel(title: str, scale: str, scores: dict[Group, Scores]) -> Panel:
    thresholds = statistics.thresholds_of(list(scores.values()))
    iqm = {group: statistics.iqm_estimate(matrix) for group, matrix in scores.items()}
    improvements = {
        (first, second): statistics.improvement_estimate(scores[first], scores[second])
        for first, second in itertools.combinations(scores, 2)
        if first.label == second.label or first.sampler == second.sampler
    }
    profiles = {group: statistics.profile_of(matrix, thresholds) for group, matrix in scores.items()}
    return Panel(title, scale, scores, iqm, improvements, thresholds, profiles)


def read_ranges(given: Sequence[str] = (), reference: Path | None = None) -> dict[str, Range]:
    """Return the ranges of a YAML or JSON file of ``TASK: [low, high]``, and of texts ``TASK=low,high``, which win.

    Raises ConfigError if one is no range, and OSError if the file cannot be opened.
    """
    ranges = {}
    if reference is not None:
        stored = read_yaml(reference)
        if not isinstance(stored, Mapping):
            raise ConfigError(f"{reference} must hold lines TASK: [low, high].")
        ranges = parse_ranges(stored, str(reference))
    for text in given:
        task, equals, bounds = text.rpartition("=")
        if not equals:
            raise ConfigError(f"Cannot read {text!r} as a normalisation; write TASK=low,high, as Hopper-v5=0,3000.")
        ranges |= parse_ranges({task: bounds.split(",")}, text)
    return ranges


def parse_ranges(bounds: Mapping[str, Any], source: str) -> dict[str, Range]:
    """Return the ranges of ``{task: [low, high]}``; raise ConfigError, naming ``source``, if one is no range."""
    ranges = {}
    for task, entry in bounds.items():
        try:
            low, high = (float(value) for value in entry)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(f"{source}: {task} needs two numbers, low and high, not {entry!r}.") from None
        if not (math.isfinite(low) and math.isfinite(high) and low != high):
            raise ConfigError(f"{source}: low and high of {task} must be finite and differ, got {low:g} and {high:g}.")
        ranges[task] = Range(low, high)
    return ranges


def require_ranges(tasks: Iterable[str], ranges: Mapping[str, Range]) -> None:
    """Raise ConfigError if there are several tasks, whose returns have different scales, and one has no range."""
    tasks = list(dict.fromkeys(tasks))
    missing = [task for task in tasks if task not in ranges]
    if len(tasks) < 2 or not missing:
        return
    hint = f" There is one for {', '.join(ranges)}. {nearest(missing[0], ranges)}" if ranges else ""
    raise ConfigError(
        f"These checkpoints are of {len(tasks)} tasks ({', '.join(tasks)}), whose returns have different scales, so "
        f"one mean over them says nothing. No range to normalise by: {', '.join(missing)}.{hint} Give --normalize "
        f"{' '.join(f'{task}=low,high' for task in missing)}, a --reference file, or --by_task for statistics of each "
        "task alone."
    )
