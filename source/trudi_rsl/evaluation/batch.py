# SPDX-License-Identifier: BSD-3-Clause
"""Many evaluations with one progress bar."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from trudi_rsl.evaluation.measurement import Evaluation, Measurement

SPEED_WINDOW = 3600.0
"""Seconds over which the time left is estimated; single steps of the bar may take minutes."""


def measure_all(evaluations: Sequence[Evaluation], progress: bool = True) -> list[Measurement]:
    """Run the evaluations that were not run before, one after the other.

    Args:
        evaluations: In the order of the result.
        progress: Show a bar with the time left.

    Raises:
        CheckpointError, ConfigError, NonFiniteError: As :meth:`~trudi_rsl.evaluation.measurement.Evaluation.run` does;
            what ran before is kept.
    """
    known = [evaluation.cached() for evaluation in evaluations]
    total = known.count(None)
    measurements, done = [], 0
    with progress_bar("Evaluating", "evaluations", progress) as bar:
        task = bar.add_task("", total=total, ended=0, all=total)
        for evaluation, stored in zip(evaluations, known, strict=True):
            if stored is None:
                stored = evaluation.run(lambda share, done=done: bar.update(task, completed=done + share))
                done += 1
                bar.update(task, completed=done, ended=done)
            measurements.append(stored)
    return measurements


def progress_bar(verb: str, what: str, shown: bool = True) -> Progress:
    """Return a bar for long work; its tasks have fields ``ended`` and ``all``, and ``completed`` may be a fraction."""
    return Progress(
        TextColumn(verb),
        BarColumn(),
        TextColumn(f"{{task.fields[ended]}}/{{task.fields[all]}} {what}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        speed_estimate_period=SPEED_WINDOW,
        disable=not shown,
    )
