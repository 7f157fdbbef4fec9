# SPDX-License-Identifier: BSD-3-Clause
"""Examining a run folder: the rules on its log, its checkpoints and its skipped updates."""

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
from trudi_rsl.health.checkpoints import examine_checkpoints
from trudi_rsl.health.history import ALWAYS_LOGGED, Finding, History
from trudi_rsl.health.rules import RULES, examine

PREFIX = "Loss/"
"""Prefix that RSL-RL's logger adds to the scalars of an algorithm."""

TIMES = {
    "Perf/collection_time": "collection_seconds",
    "Perf/collection time": "collection_seconds",
    "Perf/learning_time": "learning_seconds",
}
"""Tag of each duration to its name in a history; RSL-RL 3 writes the tag with a space."""

FIRST_SKIPPED_UPDATE = "skipped_update_1.pt"
"""File in a run folder with the first update that was skipped."""


@dataclass(frozen=True)
class Checkup:
    """The result of examining a run; its text is the report."""

    name: str
    """Name of the run folder."""
    num_iterations: int
    """Logged so far."""
    num_checkpoints: int
    """Written so far."""
    findings: dict[str, Finding]
    """By the rules' names."""
    judged: list[str]
    """Rules that had enough data, violated or not."""
    too_little_data: dict[str, str]
    """Rules whose scalars are logged but cannot be judged yet, and the missing data, such as ``8 of 20 iterations``."""
    not_logged: list[str]
    """Rules whose scalars are not logged."""
    not_read: dict[str, str]
    """Names of checkpoints and skipped updates that could not be read, and the reason."""

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {len(self.findings) or 'nothing'} found in {self.num_iterations} iterations and "
            f"{self.num_checkpoints} checkpoints."
        ]
        for name, finding in self.findings.items():
            since = "" if finding.since is None else f", since iteration {finding.since}"
            lines += [f"- {name}{since}: {finding.what}", f"  {finding.remedy}"]
        lines.append(f"Judged: {', '.join(self.judged) or 'nothing'}.")
        if self.too_little_data:
            missing = ", ".join(f"{name} ({data})" for name, data in self.too_little_data.items())
            lines.append(f"Too little data to judge: {missing}.")
        if self.not_logged:
            lines.append(f"Not logged so far, or by this algorithm or version: {', '.join(self.not_logged)}.")
        if self.not_read:
            lines.append(f"Not read: {', '.join(self.not_read)}. {next(iter(self.not_read.values()))}")
        return "\n".join(lines)


def examine_run(folder: str | Path) -> Checkup:
    """Examine a run folder, whose training may still be under way.

    Raises:
        RunError: If it is not a run folder, or no iteration has been logged yet.
    """
    folder = Path(folder)
    tags = [PREFIX + name for name in {name for rule in RULES for name in rule.scalars}]
    run = read_run(folder, [*tags, *TIMES])
    checkpoints = examine_checkpoints(folder)
    history = history_of(run, checkpoints.settings or run.settings)
    findings, not_read = examine(history), dict(checkpoints.not_read)
    if "skipped updates" in findings and (file := folder / FIRST_SKIPPED_UPDATE).is_file():
        finding = findings["skipped updates"]
        try:
            findings["skipped updates"] = replace(finding, what=f"{finding.what} {describe_skipped_update(file)}")
        except CheckpointError as error:
            not_read[file.name] = str(error)
    # the log describes a drift in more detail than the checkpoints
    findings = checkpoints.findings | findings
    judged, too_little_data, not_logged = [], {}, []
    for rule in RULES:
        missing = rule.missing_data(history)
        drift_in_checkpoints = rule.name == "normaliser drift" and checkpoints.shift is not None
        if missing is None or rule.name in findings or drift_in_checkpoints:
            judged.append(rule.name)
        elif rule.is_logged(history):
            too_little_data[rule.name] = missing
        else:
            not_logged.append(rule.name)
    if checkpoints.num_checkpoints:
        judged.append("checkpoints")
    else:
        too_little_data["checkpoints"] = "none written"
    return Checkup(
        name=run.name,
        num_iterations=len(history),
        num_checkpoints=checkpoints.num_checkpoints,
        findings=findings,
        judged=judged,
        too_little_data=too_little_data,
        not_logged=not_logged,
        not_read=not_read,
    )


def history_of(run: Run, settings: Mapping[str, Any]) -> History:
    """Return the log of a run, without iterations that are only partly written.

    An iteration counts if it has all scalars that the run logs even without an update.

    Args:
        run: The run, read with the tags of all rules.
        settings: The ``algorithm`` section that it was trained with.

    Raises:
        RunError: If there is no such iteration.
    """
    series = {
        TIMES.get(tag, tag.removeprefix(PREFIX)): dict(zip(steps.tolist(), values.tolist(), strict=True))
        for tag, (steps, values) in run.scalars.items()
    }
    always = [set(values) for name, values in series.items() if name in ALWAYS_LOGGED]
    complete = always or [set(values) for values in series.values()]
    iterations = np.array(sorted(set.intersection(*complete) if complete else ()), dtype=int)
    if not len(iterations):
        raise RunError(f"{run.name} has not logged a whole iteration yet.")
    scalars = {name: np.array([values.get(i, np.nan) for i in iterations]) for name, values in series.items()}
    if {*TIMES.values()} <= scalars.keys():
        scalars["seconds"] = np.sum([scalars[name] for name in {*TIMES.values()}], axis=0)
    return History(iterations, scalars, settings)


def describe_skipped_update(file: Path) -> str:
    """Return a sentence on the numbers that caused an update to be skipped.

    Args:
        file: A file that :class:`~trudi_rsl.algorithms.nonfinite.UpdateGuard` saved, or a foreign one; no code in it is
            run.

    Raises:
        CheckpointError: If the file has other content.
    """
    content = read_checkpoint(file)
    with as_checkpoint_error(file):
        cause = content["cause"]
        described = _describe_minibatch(cause) if "minibatch" in cause else _describe_rollout(cause["rollout"])
        return f"The first one, in {file.name}: {described}."


def _describe_minibatch(cause: Mapping[str, Any]) -> str:
    """Return which numbers of an update were not finite, and which of the minibatch's may have caused it."""
    quantities = one_line(", ".join(cause["not_finite"])) or "a gradient of finite losses"
    sizes = dict(_max_abs(cause["minibatch"]))
    infinite = [name for name, size in sizes.items() if size == torch.inf]
    if infinite:
        return f"not finite were {quantities}; in the minibatch, {one_line(', '.join(infinite))}"
    largest = max(sizes, key=lambda name: sizes[name])
    return (
        f"not finite were {quantities}; the minibatch's largest number, {sizes[largest]:.2g}, is in {one_line(largest)}"
    )


def _describe_rollout(rollout: Mapping[str, Tensor]) -> str:
    """Return how many numbers of the faulty environments, in masks ``[T, F]``, were not finite."""
    lost = {name: 100.0 * (~rollout[name]).double().mean().item() for name in ("seen", "rewarded")}
    return (
        f"{rollout['seen'].shape[1]} environments returned NaN or infinity, in {lost['seen']:.0f} % of their "
        f"observations and {lost['rewarded']:.0f} % of their rewards"
    )


def _max_abs(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the name and the largest absolute value of each floating-point tensor; infinity if it contains NaN."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", size) for part, size in _max_abs(value))
        elif isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            yield name, value.double().abs().nan_to_num(nan=torch.inf, posinf=torch.inf).max().item()
