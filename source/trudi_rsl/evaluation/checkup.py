# SPDX-License-Identifier: BSD-3-Clause
"""Examining a run folder: the rules of :mod:`trudi_rsl.health` on its log, and its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.checkpoint_health import examine_checkpoints
from trudi_rsl.evaluation.event_file import Run, RunError, read_run
from trudi_rsl.evaluation.skipped_updates import FIRST_FILE, cause_of
from trudi_rsl.health import RULES, Finding, History, examine
from trudi_rsl.health.history import ALWAYS_LOGGED

PREFIX = "Loss/"
"""What RSL-RL's logger puts before the names that an algorithm returns."""

NAMES = {
    "Perf/collection_time": "collection_seconds",
    "Perf/collection time": "collection_seconds",
    "Perf/learning_time": "learning_seconds",
}
"""Tags to names of an iteration's times; RSL-RL 3 writes the one with the space."""


@dataclass(frozen=True)
class Checkup:
    """What was looked at in a run, and what was found."""

    name: str
    """Of the run folder."""
    num_iterations: int
    """Logged so far."""
    num_checkpoints: int
    """Written so far."""
    findings: dict[str, Finding]
    """By the rules' names."""
    looked_at: list[str]
    """Names of the rules whose scalars were logged."""
    not_logged: list[str]
    """Names of the others."""
    not_read: dict[str, str]
    """Names of checkpoints and skipped updates that were not read, and why."""

    def __str__(self) -> str:
        number = len(self.findings) or "nothing"
        lines = [
            f"{self.name}: {number} found in {self.num_iterations} iterations and {self.num_checkpoints} checkpoints."
        ]
        for name, finding in self.findings.items():
            since = "" if finding.since is None else f", since iteration {finding.since}"
            lines += [f"- {name}{since}: {finding.what}", f"  {finding.remedy}"]
        lines.append(f"Looked at: {', '.join([*self.looked_at, 'checkpoints'])}.")
        if self.not_logged:
            lines.append(f"Not logged so far, or by this algorithm or version: {', '.join(self.not_logged)}.")
        if self.not_read:
            lines.append(f"Not read: {', '.join(self.not_read)}. {next(iter(self.not_read.values()))}")
        return "\n".join(lines)


def examine_run(folder: str | Path) -> Checkup:
    """Examine a run folder, which may still be written to.

    Raises:
        RunError: If it is none, or nothing has been logged yet.
    """
    needed = {name for rule in RULES for name in rule.needs}
    run = read_run(folder, [*(PREFIX + name for name in needed), *NAMES])
    checkpoints = examine_checkpoints(Path(folder))
    history = history_of(run, checkpoints.settings or run.settings)
    looked_at = [rule.name for rule in RULES if rule.applies(history)]
    if "normaliser drift" in checkpoints.findings and "normaliser drift" not in looked_at:
        looked_at.append("normaliser drift")
    findings, not_read = examine(history), dict(checkpoints.not_read)
    if "skipped updates" in findings and (file := Path(folder) / FIRST_FILE).is_file():
        found = findings["skipped updates"]
        try:
            findings["skipped updates"] = replace(found, what=f"{found.what} {cause_of(file)}")
        except CheckpointError as error:
            not_read[file.name] = str(error)
    return Checkup(
        run.name,
        len(history),
        checkpoints.num_checkpoints,
        # the log tells more of a drift than the checkpoints do
        checkpoints.findings | findings,
        looked_at,
        [rule.name for rule in RULES if rule.name not in looked_at],
        not_read,
    )


def history_of(run: Run, settings: Mapping[str, Any]) -> History:
    """Return what a run logged, at the iterations for which everything was that an iteration without an update logs.

    The last may be half written.

    Args:
        run: Read with the tags of all rules.
        settings: What it was trained with.

    Raises:
        RunError: If there is no such iteration.
    """
    series = {NAMES.get(tag, tag.removeprefix(PREFIX)): _by_iteration(points) for tag, points in run.scalars.items()}
    whole = [set(values) for name, values in series.items() if name in ALWAYS_LOGGED]
    logged = whole or [set(values) for values in series.values()]
    iterations = np.array(sorted(set.intersection(*logged) if logged else ()), dtype=int)
    if not len(iterations):
        raise RunError(f"{run.name} has not logged a whole iteration yet.")
    scalars = {name: np.array([values.get(i, np.nan) for i in iterations]) for name, values in series.items()}
    if {*NAMES.values()} <= scalars.keys():
        scalars["seconds"] = np.sum([scalars[name] for name in {*NAMES.values()}], axis=0)
    return History(iterations, scalars, settings)


def _by_iteration(points: tuple[np.ndarray, np.ndarray]) -> dict[int, float]:
    return dict(zip(points[0].tolist(), points[1].tolist(), strict=True))
