# SPDX-License-Identifier: BSD-3-Clause
"""The report of an experiment: learning curves, tables, and the software and commands behind them."""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trudi_rsl.config.event_file import SECONDS_TAGS, Run, read_run
from trudi_rsl.deploy.provenance import provenance
from trudi_rsl.evaluation import pictures, tables
from trudi_rsl.evaluation.comparison import Comparison, compare, parse_ranges
from trudi_rsl.evaluation.learning_curves import RETURN_TAG
from trudi_rsl.evaluation.measurement import Measurement
from trudi_rsl.evaluation.samplers import supported_samplers
from trudi_rsl.evaluation.statistics import iqm
from trudi_rsl.experiments.experiment import EvaluationSection, Experiment
from trudi_rsl.experiments.job import Job
from trudi_rsl.experiments.sweep import Outcome

Axis = Literal["steps", "seconds"]
AXIS_LABELS: dict[Axis, str] = {"steps": "Environment steps", "seconds": "Seconds of training"}
TAGS = (RETURN_TAG, *SECONDS_TAGS)
"""Scalars of a run that :func:`curves_figure` reads."""
NUM_POINTS = 200
"""Points of a mean curve."""
Groups = dict[str, dict[str, list[Job]]]
"""Task to the label of a group to its runs."""


def write_report(
    experiment: Experiment, jobs: Sequence[Job], outcome: Outcome, command: Sequence[str], seconds: float
) -> Path:
    """Write ``report.md``, its pictures and all numbers (``results.*``) into the experiment's folder.

    ``jobs`` are all runs; ``command`` and ``seconds`` are those of the sweep. Return the report's path.
    """
    folder = jobs[0].folder.parent
    folder.mkdir(parents=True, exist_ok=True)
    summary = (
        f"`{shlex.join(command)}`: {len(outcome.finished)} of {len(jobs)} runs finished; this call took "
        f"{timedelta(seconds=round(seconds))} (h:mm:ss). Runs finished before were not repeated."
    )
    broken = [f"- **broken: {name}**: {reason}" for name, reason in outcome.broken.items()]
    parts = [f"# {experiment.name}", experiment.description.strip(), "\n".join([summary, *broken])]
    if finished := [job for job in jobs if job in outcome.finished]:
        records = {job.name: job.record() or {} for job in finished}
        logs = {job.name: read_run(records[job.name]["run"], TAGS) for job in finished}
        groups: Groups = {}
        for job in finished:
            groups.setdefault(job.task, {}).setdefault(job.label, []).append(job)
        measurements = [measurement for job in finished for measurement in job.measurements() or []]
        comparison = _comparison(experiment, measurements)
        tables.write_comparison(comparison, measurements, folder, {"command": list(command), **provenance()})
        drawn = [folder / name for name in tables.FILES if name.endswith(".png") and (folder / name).is_file()]
        train_commands = "\n".join(shlex.join(["trudi", "train", *job.arguments]) for job in finished)
        axes: list[Axis] = ["steps", "seconds"] if experiment.seconds else ["steps"]
        parts += ["## Learning curves", _curves(groups, logs, axes, folder)]
        parts += ["## Evaluation", _evaluation(experiment.evaluation), tables.as_markdown(comparison)]
        parts += [f"![{picture.stem}]({picture.name})" for picture in drawn]
        parts += ["## Time", _times(groups, logs, records), "## Software", _software(records.values())]
        parts += ["## Commands", f"```\n{train_commands}\n```"]
    path = folder / "report.md"
    path.write_text("\n\n".join(filter(None, parts)) + "\n")
    return path


def _comparison(experiment: Experiment, measurements: Sequence[Measurement]) -> Comparison:
    ranges = parse_ranges(experiment.normalize, experiment.name)
    tasks = {measurement.task for measurement in measurements}
    comparison = compare(measurements, ranges, by_task=not tasks <= ranges.keys())
    samplers = experiment.evaluation.sampler_cfgs()
    for algorithm in dict.fromkeys(measurement.algorithm for measurement in measurements):
        comparison.notes.extend(supported_samplers(samplers, algorithm)[1])  # pyright: ignore[reportArgumentType]
    return comparison


def _curves(groups: Groups, logs: Mapping[str, Run], axes: Sequence[Axis], folder: Path) -> str:
    runs = {
        task: {label: [logs[job.name] for job in jobs] for label, jobs in by_label.items()}
        for task, by_label in groups.items()
    }
    for axis in axes:
        pictures.save_pictures(curves_figure(runs, axis), folder / f"curves_{axis}")
    shown = "\n\n".join(f"![Training return against {axis}](curves_{axis}.png)" for axis in axes)
    return (
        "Training return is the mean of the last 100 finished episodes, with exploration. Thin lines are seeds, thick "
        f"lines the interquartile mean over seeds.\n\n{shown}"
    )


def _evaluation(section: EvaluationSection) -> str:
    options = {
        "sampler": section.samplers,
        "score_scale": section.score_scales,
        "num_candidates": section.num_candidates,
        "initial_latent": [latent for latent in section.initial_latents if latent is not None],
        "episodes": [section.episodes],
        "seed": [section.seed],
    }
    flags = " ".join(f"--{name} {' '.join(map(str, values))}" for name, values in options.items() if values)
    return f"The last checkpoint of each run, in new environments, as by `trudi evaluate RUN {flags}`."


def _times(groups: Groups, logs: Mapping[str, Run], records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of each group's environment steps and seconds."""
    rows = []
    for task, by_label in groups.items():
        for label, jobs in by_label.items():
            curves = [logs[job.name] for job in jobs if RETURN_TAG in logs[job.name].scalars]
            columns = [[curve(log, axis)[0][-1] for log in curves] for axis in AXIS_LABELS]
            columns.append([records[job.name]["wall_clock_s"] for job in jobs])
            cells = [tables.number(statistics.median(values)) if values else "-" for values in columns]
            rows.append([task, label, *cells, str(len(jobs))])
    header = ["task", "policy", "env steps", "seconds of training", "with start-up", "runs"]
    return f"Medians over seeds; compilation is part of training.\n\n{tables.markdown_table(header, rows)}"


def _software(records: Iterable[Mapping[str, Any]]) -> str:
    """Return a list of each set of versions, commit and machine that runs were trained with."""
    counts = Counter()
    for record in records:
        versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        counts[f"{versions}; commit {record['commit'] or 'unknown'}; {record['machine']}"] += 1
    return "\n".join(f"- {count} runs: {text}" for text, count in counts.items())


def curves_figure(runs: Mapping[str, Mapping[str, Sequence[Run]]], axis: Axis = "steps") -> pictures.Figure:
    """Draw the training returns of every run and the interquartile mean of each group, one panel per task.

    ``runs`` maps a task to its groups and a group to its runs, read with :data:`TAGS`.
    """
    num_columns = min(len(runs), pictures.MAX_COLUMNS)
    figure = pictures.new_figure(max(4.6 * num_columns, 6.0), 3.4 * -(-len(runs) // num_columns) + 0.8)
    groups = list(dict.fromkeys(group for by_group in runs.values() for group in by_group))
    for axes, by_group in zip(pictures.panel_grid(figure, list(runs)), runs.values(), strict=True):
        for group, members in by_group.items():
            color = f"C{groups.index(group)}"
            curves = [curve(run, axis) for run in members if RETURN_TAG in run.scalars]
            for x, returns in curves:
                axes.plot(x, returns, color=color, linewidth=0.6, alpha=0.4)
            if curves:
                x, mean = mean_curve(curves)
                axes.plot(x, mean, color=color, linewidth=2.0, marker="." if len(x) == 1 else "", label=group)
        pictures.style_axes(axes, AXIS_LABELS[axis], "Training return", x_counts=True)
    pictures.shared_legend(figure)
    return figure


def curve(run: Run, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Return the environment steps or seconds ``[n]`` of a run and its training returns ``[n]``."""
    iterations, returns = run.scalars[RETURN_TAG]
    return (run.env_steps if axis == "steps" else run.elapsed_seconds)(iterations), returns


def mean_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the interquartile mean over curves ``(x, y)``, interpolated where all of them are defined."""
    start, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    grid = np.linspace(start, end, NUM_POINTS) if end > start else np.array([start])
    return grid, iqm(np.stack([np.interp(grid, x, y) for x, y in curves], axis=-1))
