# SPDX-License-Identifier: BSD-3-Clause
"""Examining a run folder: the rules on its log, its checkpoints and its skipped updates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import LEARNER_KINDS, spec_of
from trudi_rsl.config.event_file import Run, RunError, read_run
from trudi_rsl.errors import CheckpointError, as_checkpoint_error, one_line, setting
from trudi_rsl.files import is_whole
from trudi_rsl.health.history import ALWAYS_LOGGED, Finding, History
from trudi_rsl.health.rules import RULES, examine
from trudi_rsl.health.simulator_rules import MAX_SHIFT, drift_finding
from trudi_rsl.metric_names import name_of, tag_of

TIMES = {
    "Perf/collection_time": "collection_seconds",
    "Perf/collection time": "collection_seconds",
    "Perf/learning_time": "learning_seconds",
}
"""Tag of each duration to its name in a history; RSL-RL 3 writes the tag with a space."""
COUNT_RATIOS = 0.3, 0.7
"""Smallest and largest ratio of the observation counts of two checkpoints that are compared; checkpoints further apart
have most of the learning between them."""


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
        seen = f"{self.num_iterations} iterations and {self.num_checkpoints} checkpoints"
        if self.findings or not self.too_little_data:
            lines = [f"{self.name}: {len(self.findings) or 'nothing'} found in {seen}."]
        else:
            checks = f"{len(self.too_little_data)} of {len(self.judged) + len(self.too_little_data)} checks"
            lines = [f"{self.name}: nothing found so far; {checks} need more than {seen}."]
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
    run = read_run(folder, [*TIMES, *(tag_of(name) for rule in RULES for name in rule.scalars)])
    checkpoints = examine_checkpoints(folder)
    history = _history_of(run, checkpoints.settings or run.settings)
    not_read = dict(checkpoints.not_read)
    # the log describes a drift in more detail than the checkpoints
    findings = checkpoints.findings | examine(history)
    skipped, file = findings.get("skipped updates"), folder / "skipped_update_1.pt"
    if skipped and file.is_file():
        try:
            findings["skipped updates"] = replace(skipped, what=f"{skipped.what} {describe_skipped_update(file)}")
        except CheckpointError as error:
            not_read[file.name] = str(error)
    judged, too_little_data, not_logged = [], {}, []
    for rule in RULES:
        missing = rule.missing_data(history)
        if missing is None or (rule.name == "normaliser drift" and checkpoints.shift is not None):
            judged.append(rule.name)
        elif history.where_logged(*rule.scalars):
            too_little_data[rule.name] = missing
        else:
            not_logged.append(rule.name)
    if num_checkpoints := checkpoints.num_checkpoints:
        judged.append("checkpoints")
    else:
        too_little_data["checkpoints"] = "none written"
    return Checkup(run.name, len(history), num_checkpoints, findings, judged, too_little_data, not_logged, not_read)


def _history_of(run: Run, settings: Mapping[str, Any]) -> History:
    """Return the log of a run, without iterations that are only partly written.

    An iteration counts if it has all scalars that the run logs even without an update.

    Raises:
        RunError: If there is no such iteration.
    """
    series = {
        TIMES.get(tag, name_of(tag)): dict(zip(steps.tolist(), values.tolist(), strict=True))
        for tag, (steps, values) in run.scalars.items()
    }
    always = [set(values) for name, values in series.items() if name in ALWAYS_LOGGED]
    complete = always or [set(values) for values in series.values()]
    iterations = np.array(sorted(set.intersection(*complete) if complete else ()), dtype=int)
    if not len(iterations):
        raise RunError(f"{run.name} has not logged a whole iteration yet.")
    scalars = {name: np.array([values.get(i, np.nan) for i in iterations]) for name, values in series.items()}
    if {*TIMES.values()} <= scalars.keys():
        scalars["seconds"] = scalars["collection_seconds"] + scalars["learning_seconds"]
    return History(iterations, scalars, settings)


def describe_skipped_update(file: Path) -> str:
    """Return a sentence on the numbers that caused an update to be skipped; no code in the file is run.

    Raises:
        CheckpointError: If :class:`~trudi_rsl.algorithms.nonfinite.UpdateGuard` did not save the file.
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
    if infinite := [name for name, size in sizes.items() if size == torch.inf]:
        suspect = f"in the minibatch, {one_line(', '.join(infinite))}"
    else:
        largest = max(sizes, key=sizes.__getitem__)
        suspect = f"the minibatch's largest number, {sizes[largest]:.2g}, is in {one_line(largest)}"
    return f"not finite were {quantities}; {suspect}"


def _describe_rollout(rollout: Mapping[str, Tensor]) -> str:
    """Return how many numbers of the faulty environments, in masks ``[T, F]``, were not finite."""
    observations, rewards = (100.0 * (~rollout[name]).double().mean().item() for name in ("seen", "rewarded"))
    return (
        f"{rollout['seen'].shape[1]} environments returned NaN or infinity, in {observations:.0f} % of their "
        f"observations and {rewards:.0f} % of their rewards"
    )


def _max_abs(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the name and the largest absolute value of each floating-point tensor; infinity if it contains NaN."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", size) for part, size in _max_abs(value))
        elif isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            yield name, value.double().abs().nan_to_num(nan=torch.inf, posinf=torch.inf).max().item()


@dataclass(frozen=True)
class CheckpointReport:
    """The result of examining a run's checkpoints."""

    num_checkpoints: int
    findings: dict[str, Finding]
    """By the rules' names."""
    shift: float | None
    """Largest lasting shift of an observation, in standard deviations; None with too few checkpoints."""
    settings: Mapping[str, Any]
    """The ``algorithm`` section in the newest readable checkpoint of TruDi, REPPO or DIME; empty if there is none."""
    not_read: dict[str, str]
    """Name of each undamaged file that could not be read, and the reason: it is from another program or version."""


def examine_checkpoints(run: Path) -> CheckpointReport:
    """Examine the checkpoints ``model_*.pt`` in a run folder."""
    files = sorted(run.glob("model_*.pt"), key=lambda path: (_iteration(path), path.name))
    damaged, not_finite, usable, not_read = [], [], [], {}
    normalisers, settings = {}, {}
    for file in files:
        if not is_whole(file):
            damaged.append(file)
            continue
        try:
            content = read_checkpoint(file)
        except CheckpointError as error:
            not_read[file.name] = str(error)
            continue
        weights = _weights(content)
        if not all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point()):
            not_finite.append(file)
            continue
        usable.append(file)
        spec = spec_of(content)
        if spec is not None and spec["policy"] in LEARNER_KINDS:
            settings = spec["settings"]
        for name, statistics in _normalisers(weights).items():
            normalisers.setdefault(name, []).append(statistics)
    newest = f"the newest usable one is {usable[-1].name}" if usable else "there is no usable one"
    findings = {}
    if damaged:
        findings["damaged checkpoint"] = Finding(
            f"Damaged or incomplete: {', '.join(file.name for file in damaged)}.",
            f"--resume skips them; {newest}. Check the disk that they were written to, and delete them.",
            _iteration(damaged[0]),
        )
    if not_finite:
        findings["non-finite weights"] = Finding(
            f"Weights are NaN or infinite in {', '.join(file.name for file in not_finite)}.",
            f"Resume from an earlier checkpoint ({newest}) with a lower {setting('algorithm.learning_rate')}.",
            _iteration(not_finite[0]),
        )
    shifts = [shift for series in normalisers.values() if (shift := _lasting_shift(series)) is not None]
    shift = max(shifts, default=None)
    if shift is not None and shift > MAX_SHIFT:
        findings["normaliser drift"] = drift_finding(shift)
    return CheckpointReport(len(files), findings, shift, settings, not_read)


@dataclass(frozen=True)
class RunningStatistics:
    """Statistics of one normaliser in one checkpoint: mean and standard deviation ``[O]``, number of observations."""

    mean: Tensor
    std: Tensor
    count: float

    def shift_since(self, earlier: RunningStatistics) -> float:
        """Return the distance of the observations since ``earlier`` from the running mean, in standard deviations.

        The largest over all entries, divided by the share of observations in ``earlier``, so that linear growth yields
        sqrt(3) whatever that share is.
        """
        recent = (self.count * self.mean - earlier.count * earlier.mean) / (self.count - earlier.count)
        return float(((recent - self.mean).abs() / self.std.clamp(min=1e-2)).max()) * self.count / earlier.count


def _iteration(file: Path) -> int:
    number = re.search(r"\d+", file.name)
    return int(number[0]) if number else 0


def _weights(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of all modules by name, without those of the optimisers."""
    states = {name: state for name, state in content.items() if name.endswith("state_dict")}
    return {
        f"{section}.{name}": value
        for section, state in states.items()
        if isinstance(state, Mapping)
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def _normalisers(weights: Mapping[str, Tensor]) -> dict[str, RunningStatistics]:
    """Return the statistics of all normalisers that have seen observations, by their names."""
    found = {}
    for name in weights:
        prefix = name.removesuffix("_mean")
        if prefix != name and {f"{prefix}_var", f"{prefix}count"} <= weights.keys():
            mean, var, count = (weights[f"{prefix}{part}"].double().flatten() for part in ("_mean", "_var", "count"))
            if count > 0:
                found[prefix] = RunningStatistics(mean, var.sqrt(), float(count))
    return found


def _lasting_shift(series: Sequence[RunningStatistics]) -> float | None:
    """Return the smaller shift of the last two sections of a run; None if no checkpoints lie between them.

    A single change of the observations, such as that of learning, shows in only one of two successive sections.
    """
    last, shifts = series[-1], []
    for _ in range(2):
        lowest, highest = (ratio * last.count for ratio in COUNT_RATIOS)
        before = [statistics for statistics in series if lowest <= statistics.count <= highest]
        if not before:
            return None
        shifts.append(last.shift_since(before[-1]))
        last = before[-1]
    return min(shifts)
