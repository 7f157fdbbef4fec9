# SPDX-License-Identifier: BSD-3-Clause
"""Running the jobs of an experiment that are not finished."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trudi_rsl.evaluation.episodes import progress_bar
from trudi_rsl.experiments.job import LOCKED, OUTPUT_FILE, Job
from trudi_rsl.experiments.launch import Command, Launcher, require_launcher, run_jobs

TAIL = 8192
"""Bytes at the end of a run's output in which its iteration is searched."""
ITERATION = re.compile(rb"^(?:\x1b\[1m)? *(?:(?:Learning i|I)teration )?(\d+)/(\d+)(?=[ ,\n\x1b])", re.MULTILINE)
"""The row of an iteration, as this package's runner prints it or RSL-RL's."""
STARTED = re.compile(rb"^--- ", re.MULTILINE)
MAX_SHARE = 0.99
"""Largest share of a running job; the rest is its evaluation."""


@dataclass
class Outcome:
    """The runs of an experiment after a sweep."""

    finished: list[Job] = field(default_factory=list)
    """Trained and evaluated, now or before."""
    broken: dict[str, str] = field(default_factory=dict)
    """Name of each failed run and the reason."""


def missing(jobs: Sequence[Job]) -> list[Job]:
    """Return the runs whose training or any of whose evaluations is missing."""
    return [job for job in jobs if job.measurements() is None]


def run(
    jobs: Sequence[Job],
    job_command: Sequence[str],
    launcher: Launcher = "local",
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Outcome:
    """Carry out the missing runs; a failing one does not stop the others.

    ``job_command``, followed by the folder of a run, carries it out as :func:`~trudi_rsl.experiments.job.carry_out`
    does. For ``launcher``, ``workers``, ``options`` and errors see :func:`~trudi_rsl.experiments.launch.run_jobs`.
    """
    require_launcher(launcher, workers, options)
    running = {job.name: job for job in missing(jobs)}
    outcome = Outcome([job for job in jobs if job.name not in running])
    if not running:
        return outcome
    commands = []
    for job in running.values():
        job.write()
        folder = job.folder.absolute()
        commands.append(Command(job.name, [*job_command, str(folder)], folder / OUTPUT_FILE))
    begin, total = time.time(), len(commands)
    with progress_bar("Training", "runs") as bar:
        task = bar.add_task("", total=total, ended=0, all=total)

        def show_progress() -> None:
            ended = total - len(running)
            under_way = sum(share_done(job, begin) for job in running.values())
            bar.update(task, completed=ended + under_way, ended=ended)

        submitit_folder = jobs[0].folder.parent / "submitit"
        ends = run_jobs(commands, workers, launcher, options, submitit_folder, show_progress)
        with contextlib.closing(ends):
            for end in ends:
                job = running.pop(end.job.name)
                if end.status == 0 and job.measurements() is not None:
                    outcome.finished.append(job)
                elif end.status == LOCKED:
                    outcome.broken[job.name] = f"another process is writing to {job.folder}, so it was skipped"
                else:
                    outcome.broken[job.name] = end.failure or f"no evaluations were stored in {job.folder}"
                if job.name in outcome.broken:
                    bar.print(f"{job.name}: {outcome.broken[job.name]}")
        show_progress()
    return outcome


def share_done(job: Job, since: float) -> float:
    """Return the share of a running job that is done, in [0, 1); 0 if it has not begun.

    Output from before ``since``, a Unix time in seconds, belongs to an earlier attempt.
    """
    output = job.folder / OUTPUT_FILE
    if not output.is_file() or output.stat().st_mtime < since:
        return 0.0
    with output.open("rb") as file:
        file.seek(max(0, output.stat().st_size - TAIL))
        iterations = ITERATION.findall(STARTED.split(file.read())[-1])
    if not iterations:
        return 0.0
    if max_seconds := job.settings["agent"].get("max_seconds"):
        begun = max((path.stat().st_mtime for path in job.folder.glob("*/params/agent.yaml")), default=time.time())
        return min(MAX_SHARE, (time.time() - begun) / max_seconds)
    iteration, total = map(int, iterations[-1])
    return min(MAX_SHARE, iteration / max(total, 1))
