# SPDX-License-Identifier: BSD-3-Clause
"""Checking a run folder: the health rules on its log, its checkpoints and its skipped updates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.config.event_file import Run, RunError, read_run
from trudi_rsl.errors import CheckpointError, as_checkpoint_error, one_line
from trudi_rsl.health import RULES, Finding, History, examine
from trudi_rsl.health.checkpoints import examine_checkpoints
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


FIRST_FILE = "skipped_update_1.pt"
"""Name of the first of them in a run folder."""


def cause_of(file: Path) -> str:
    """Return which numbers let an update be skipped.

    Args:
        file: What :class:`~trudi_rsl.algorithms.nonfinite.UpdateGuard` kept, or somebody else's: nothing in it is run.

    Raises:
        CheckpointError: If it is no such file.
    """
    content = read_checkpoint(file)
    with as_checkpoint_error(file):
        cause = content["cause"]
        told = _of_minibatch(cause) if "minibatch" in cause else _of_rollout(cause["rollout"])
        return f"{file.name} tells of the first: {told}."


def _of_minibatch(cause: Mapping[str, Any]) -> str:
    """Return what was not finite, and where that may come from: the minibatch's largest numbers."""
    bad = one_line(", ".join(cause["not_finite"])) or "a gradient of finite losses"
    sizes = dict(_sizes(cause["minibatch"]))
    unbounded = [name for name, size in sizes.items() if size == torch.inf]
    if unbounded:
        return f"not finite were {bad}; of the minibatch, {one_line(', '.join(unbounded))}"
    largest = max(sizes, key=lambda name: sizes[name])
    return f"not finite were {bad}; the minibatch's largest number, {sizes[largest]:.2g}, is in {one_line(largest)}"


def _of_rollout(rollout: Mapping[str, Tensor]) -> str:
    """Return how much of what the faulty environments gave was not finite."""
    lost = {name: 100.0 * (~rollout[name]).double().mean().item() for name in ("seen", "rewarded")}
    return (
        f"{rollout['seen'].shape[1]} environments gave NaN or infinity, in {lost['seen']:.0f} % of their observations "
        f"and {lost['rewarded']:.0f} % of their rewards"
    )


def _sizes(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the names and largest absolute values of all floating-point tensors, infinity for NaN."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", size) for part, size in _sizes(value))
        elif isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            yield name, value.double().abs().nan_to_num(nan=torch.inf, posinf=torch.inf).max().item()
