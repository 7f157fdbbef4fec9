# SPDX-License-Identifier: BSD-3-Clause
"""Running what is missing of an experiment."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import Progress

from trudi_rsl.evaluation.episodes import progress_bar
from trudi_rsl.evaluation.measurement import Measurement
from trudi_rsl.experiments.job import OUTPUT_FILE, Job
from trudi_rsl.experiments.launchers import Launcher, launch, require
from trudi_rsl.experiments.worker import BUSY, evaluations

SECONDS_PER_TICK = 1.0
TAIL = 8192
"""Bytes of a run's output that are looked at."""
ITERATION = re.compile(rb"Learning iteration (\d+)/(\d+)")
STARTED = re.compile(rb"^--- ", re.MULTILINE)


@dataclass
class Outcome:
    """What became of the runs of an experiment."""

    finished: list[Job] = field(default_factory=list)
    """Trained and evaluated, now or before."""
    broken: dict[str, str] = field(default_factory=dict)
    """Name of a run that failed to the reason."""


def missing(jobs: Sequence[Job]) -> list[Job]:
    """Return the runs that are not trained, or not evaluated as they are to be."""
    return [job for job in jobs if measurements_of(job) is None]


def measurements_of(job: Job) -> list[Measurement] | None:
    """Return the evaluations of a finished run, None if it, or one of them, is missing."""
    record = job.record()
    if record is None:
        return None
    cached = [evaluation.cached() for evaluation in evaluations(job, record["checkpoint"])]
    known = [measurement for measurement in cached if measurement is not None]
    return known if len(known) == len(cached) else None


def run(
    jobs: Sequence[Job],
    train_script: Path,
    launcher: Launcher = "local",
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Outcome:
    """Carry out the runs that are missing, and go on where one breaks.

    Args:
        jobs: Runs of one experiment.
        train_script: Path of ``scripts/train.py``.
        launcher: See :func:`~trudi_rsl.experiments.launchers.launch`.
        workers: Runs at the same time, at least 1.
        options: Of the launcher.
        progress: Show a bar with the time left.

    Raises:
        ConfigError, ImportError: As :func:`~trudi_rsl.experiments.launchers.launch` does.
    """
    require(launcher, workers, options)
    to_run = missing(jobs)
    outcome = Outcome([job for job in jobs if job not in to_run])
    for job in to_run:
        job.write()
    if not to_run:
        return outcome
    by_folder = {job.folder: job for job in to_run}
    log_folder = to_run[0].folder.parent / launcher
    ended = launch(launcher, list(by_folder), train_script, workers, log_folder, options)
    with progress_bar("Training", "runs", progress) as bar, contextlib.closing(ended), _ticking(bar, to_run) as done:
        for folder, status in ended:
            job = by_folder[folder]
            done.add(job.name)
            if status == 0 and measurements_of(job) is not None:
                outcome.finished.append(job)
            else:
                outcome.broken[job.name] = _reason(job, status)
                bar.print(f"{job.name}: {outcome.broken[job.name]}")
    return outcome


@contextlib.contextmanager
def _ticking(bar: Progress, jobs: Sequence[Job]) -> Iterator[set[str]]:
    """Move the bar while runs are under way; yields the names of those that ended, to be added to."""
    task = bar.add_task("", total=len(jobs), ended=0, all=len(jobs))
    ended: set[str] = set()
    over = threading.Event()
    begin = time.time()

    def update() -> None:
        under_way = sum(share_of(job, begin) for job in jobs if job.name not in ended)
        bar.update(task, completed=len(ended) + under_way, ended=len(ended))

    def tick() -> None:
        while not over.wait(SECONDS_PER_TICK):
            update()

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        over.set()
        thread.join()
        update()


def share_of(job: Job, since: float) -> float:
    """Return the share of a run under way that is done, in [0, 1), 0 if it has not begun.

    Args:
        job: The run.
        since: Time before which its output is of an earlier attempt, seconds.
    """
    output = job.folder / OUTPUT_FILE
    if not output.is_file() or output.stat().st_mtime < since:
        return 0.0
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - TAIL))
        tail = STARTED.split(file.read())[-1]
    seconds = job.settings["agent"].get("max_seconds")
    found = ITERATION.findall(tail)
    if not found:
        return 0.0
    if seconds:
        begun = max((path.stat().st_mtime for path in job.folder.glob("*/params/agent.yaml")), default=time.time())
        return min(0.99, (time.time() - begun) / seconds)
    iteration, total = (int(number) for number in found[-1])
    return min(0.99, iteration / max(total, 1))


def _reason(job: Job, status: int) -> str:
    if status == BUSY:
        return f"another process is writing to {job.folder}, so it was left alone"
    output = job.folder / OUTPUT_FILE
    lines = output.read_text(errors="replace").splitlines() if output.is_file() else []
    said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"exit status {status}, last words: {said} (all of them: {output})"
