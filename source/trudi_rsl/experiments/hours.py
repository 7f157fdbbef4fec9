# SPDX-License-Identifier: BSD-3-Clause
"""The hours that the runs of an experiment are expected to take, each alone on its machine.

Runs of the same experiment that have finished are the best evidence; else the file's environment steps per second.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trudi_rsl.experiments.experiment import Experiment
from trudi_rsl.experiments.job import Job


@dataclass(frozen=True)
class Expectation:
    """Expected hours of the runs of one algorithm that are not finished."""

    algorithm: str
    runs: int
    hours: float | None
    """Of all these runs; None if for one of them neither a finished run nor a speed is known."""
    measured: int
    """How many of the runs are estimated from finished ones."""

    def __str__(self) -> str:
        """Return a line for the dry run."""
        if self.hours is None:
            return f"{self.algorithm}: {self.runs} runs, hours unknown: no speed is stored and none has finished"
        source = f", {self.measured} of them estimated from finished runs" if self.measured else ""
        return f"{self.algorithm}: {self.runs} runs x {_hours(self.hours / self.runs)} = {_hours(self.hours)}{source}"


def env_steps(job: Job) -> int | None:
    """Return the environment steps of a run's training, None if its host alone knows them or seconds limit it."""
    agent, env = job.settings["agent"], job.settings["env"]
    factors = (env.get("num_envs"), agent.get("num_steps_per_env"), agent.get("max_iterations"))
    if None in factors or agent.get("max_seconds"):
        return None
    return factors[0] * factors[1] * factors[2]


def expectations(experiment: Experiment, jobs: Sequence[Job], to_run: Iterable[Job]) -> list[Expectation]:
    """Return what the runs ``to_run`` of all ``jobs`` are expected to take, by algorithm."""
    finished: dict[tuple[str, str, str], list[float]] = {}
    for job in jobs:
        if (record := job.record()) is not None:
            finished.setdefault((job.task, job.algorithm, job.variant), []).append(record["wall_clock_s"] / 3600.0)
    by_algorithm: dict[str, list[Job]] = {}
    for job in to_run:
        by_algorithm.setdefault(job.algorithm, []).append(job)
    listed = []
    for algorithm, group in by_algorithm.items():
        hours, measured = [], 0
        for job in group:
            if alike := finished.get((job.task, job.algorithm, job.variant)):
                hours.append(statistics.median(alike))
                measured += 1
            else:
                hours.append(_from_speed(experiment, job))
        total = None if None in hours else sum(value for value in hours if value is not None)
        listed.append(Expectation(algorithm, len(group), total, measured))
    return listed


def describe(experiment: Experiment, listed: Sequence[Expectation]) -> list[str]:
    """Return the lines of a sweep about expected hours, with their source and their sum."""
    if not listed:
        return []
    known = [entry.hours for entry in listed if entry.hours is not None]
    incomplete = "; those without a number come on top" if len(known) < len(listed) else ""
    total = [f"All together: {_hours(sum(known))}, each run alone on its machine{incomplete}."] if known else []
    source = [f"Steps per second: {experiment.speed_source.strip()}"] if experiment.speed and known else []
    return ["Expected hours of training:", *(f"  {entry}" for entry in listed), *total, *source]


def _hours(hours: float) -> str:
    """Return a duration with three digits or, from 100 h on, in whole hours."""
    return f"{hours:,.0f} h" if hours >= 100 else f"{hours:.3g} h"


def _from_speed(experiment: Experiment, job: Job) -> float | None:
    if seconds := job.settings["agent"].get("max_seconds"):
        return seconds / 3600.0
    fitting = (speeds for pattern, speeds in experiment.speed.items() if fnmatchcase(job.task, pattern))
    steps, speed = env_steps(job), next((s[job.algorithm] for s in fitting if job.algorithm in s), None)
    return None if steps is None or speed is None else steps / speed / 3600.0
