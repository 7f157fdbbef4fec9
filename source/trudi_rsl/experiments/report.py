# SPDX-License-Identifier: BSD-3-Clause
"""The report of an experiment: curves, tables, and what they were made with."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trudi_rsl.config.event_file import Run, read_run
from trudi_rsl.deploy.provenance import commit, versions
from trudi_rsl.evaluation.comparison.groups import Comparison, compare
from trudi_rsl.evaluation.comparison.normalization import ranges_of
from trudi_rsl.evaluation.comparison.tables import as_markdown, markdown_table, number, write_comparison
from trudi_rsl.evaluation.measurement import Measurement
from trudi_rsl.evaluation.plots import RETURN_TAG
from trudi_rsl.evaluation.samplers import fitting
from trudi_rsl.experiments.curves import TAGS, Axis, curve_of, curves_figure
from trudi_rsl.experiments.experiment import Experiment
from trudi_rsl.experiments.job import Job
from trudi_rsl.experiments.sweep import Outcome, measurements_of

REPORT = "report.md"
SUFFIXES = (".png", ".svg")


def write_report(
    experiment: Experiment, jobs: Sequence[Job], outcome: Outcome, command: Sequence[str], seconds: float
) -> Path:
    """Write ``report.md``, its pictures and all numbers (``results.*``) into the experiment's folder.

    Args:
        experiment: What was run.
        jobs: All its runs.
        outcome: Of the runs.
        command: What the user typed.
        seconds: Wall-clock time of this call.

    Returns:
        The report's path.
    """
    folder = jobs[0].folder.parent
    folder.mkdir(parents=True, exist_ok=True)
    finished = [job for job in jobs if job in outcome.finished]
    records = {job.name: job.record() or {} for job in finished}
    parts = [f"# {experiment.name}", experiment.description.strip(), _summary(jobs, outcome, command, seconds)]
    if finished:
        logs = {job.name: read_run(records[job.name]["run"], TAGS) for job in finished}
        parts += ["## Learning curves", _curves(experiment, finished, logs, folder)]
        measurements = [found for job in finished for found in measurements_of(job) or []]
        comparison = _comparison(experiment, measurements)
        about = {"command": list(command), "versions": versions(), "commit": commit()}
        write_comparison(comparison, measurements, folder, about)
        pictures = [name for name in ("intervals", "profiles", "improvement") if (folder / f"{name}.png").is_file()]
        parts += ["## Evaluation", _evaluation(experiment), as_markdown(comparison)]
        parts += [f"![{name}]({name}.png)" for name in pictures]
        parts += ["## Time", _time(finished, logs, records), "## Made with", _made_with(records.values())]
        parts += ["## Commands", _commands(finished)]
    path = folder / REPORT
    path.write_text("\n\n".join(filter(None, parts)) + "\n")
    return path


def _summary(jobs: Sequence[Job], outcome: Outcome, command: Sequence[str], seconds: float) -> str:
    lines = [
        f"`{shlex.join(command)}`: {len(outcome.finished)} of {len(jobs)} runs finished; this call took "
        f"{duration(seconds)}. Runs finished before were not repeated."
    ]
    lines += [f"- **broken: {name}**: {reason}" for name, reason in outcome.broken.items()]
    return "\n".join(lines)


def _curves(experiment: Experiment, jobs: Sequence[Job], logs: Mapping[str, Run], folder: Path) -> str:
    runs: dict[str, dict[str, list[Run]]] = {}
    for job in jobs:
        runs.setdefault(job.task, {}).setdefault(job.label, []).append(logs[job.name])
    axes: list[Axis] = ["steps", "seconds"] if experiment.seconds else ["steps"]
    for axis in axes:
        figure = curves_figure(runs, axis)
        for suffix in SUFFIXES:
            figure.savefig(folder / f"curves_{axis}{suffix}", dpi=150)
    shown = "\n\n".join(f"![Training return against {axis}](curves_{axis}.png)" for axis in axes)
    return (
        "Training return is the mean of the last 100 finished episodes of the policy that explores. Thin lines are "
        f"seeds, thick ones the interquartile mean over them.\n\n{shown}"
    )


def _comparison(experiment: Experiment, measurements: Sequence[Measurement]) -> Comparison:
    ranges = ranges_of(experiment.normalize, experiment.name)
    tasks = {measurement.task for measurement in measurements}
    comparison = compare(measurements, ranges, by_task=not tasks <= ranges.keys())
    samplers = experiment.evaluation.wanted()
    for algorithm in dict.fromkeys(measurement.algorithm for measurement in measurements):
        comparison.notes.extend(fitting(samplers, algorithm)[1])  # pyright: ignore[reportArgumentType]
    return comparison


def _evaluation(experiment: Experiment) -> str:
    section = experiment.evaluation
    lists = {
        "sampler": section.samplers,
        "score_scale": section.score_scales,
        "num_candidates": section.num_candidates,
        "initial_latent": [start for start in section.initial_latents if start is not None],
    }
    flags = [f"--{name} {' '.join(map(str, values))}" for name, values in lists.items() if values]
    command = " ".join(
        ["python scripts/evaluate.py RUN", *flags, f"--episodes {section.episodes} --seed {section.seed}"]
    )
    return f"The last checkpoint of each run, fresh episodes in environments of their own, as by `{command}`."


def _time(jobs: Sequence[Job], logs: Mapping[str, Run], records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of each group's steps and seconds."""
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.task, job.label), []).append(job)
    rows = []
    for (task, label), members in groups.items():
        steps = [curve_of(logs[job.name], "steps")[0][-1] for job in members if RETURN_TAG in logs[job.name].scalars]
        trained = [
            curve_of(logs[job.name], "seconds")[0][-1] for job in members if RETURN_TAG in logs[job.name].scalars
        ]
        wall = [records[job.name]["wall_clock_s"] for job in members]
        cells = [number(statistics.median(values)) if values else "-" for values in (steps, trained, wall)]
        rows.append([task, label, *cells, str(len(members))])
    table = markdown_table(["task", "policy", "env steps", "seconds of training", "with start-up", "runs"], rows)
    return f"Medians over seeds; compiling is part of the training.\n\n{table}"


def _made_with(records: Iterable[Mapping[str, Any]]) -> str:
    """Return each set of versions, commit and machine that runs were trained with."""
    found: dict[str, int] = {}
    for record in records:
        packages = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        text = f"{packages}; commit {record['commit'] or 'unknown'}; {record['machine']}"
        found[text] = found.get(text, 0) + 1
    return "\n".join(f"- {count} runs: {text}" for text, count in found.items())


def _commands(jobs: Sequence[Job]) -> str:
    lines = "\n".join(shlex.join(["python", "scripts/train.py", *job.arguments]) for job in jobs)
    return f"```\n{lines}\n```"


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
