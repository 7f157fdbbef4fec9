# SPDX-License-Identifier: BSD-3-Clause
"""Examining the checkpoints of a run: damaged files, non-finite weights, and drifting normalisers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import LEARNER_KINDS, spec_of
from trudi_rsl.errors import CheckpointError
from trudi_rsl.files import is_whole
from trudi_rsl.health.history import Finding
from trudi_rsl.health.simulator_rules import MAX_SHIFT, drift_finding

CHECKPOINTS = "model_*.pt"

MAX_COUNT_RATIO = 0.7
"""Largest ratio of the observation counts of two checkpoints that are compared."""

MIN_COUNT_RATIO = 0.3
"""Smallest such ratio; checkpoints further apart have most of the learning between them."""


@dataclass(frozen=True)
class RunningStatistics:
    """Statistics of one normaliser in one checkpoint."""

    mean: Tensor
    """``[O]``."""
    std: Tensor
    """``[O]``."""
    count: float
    """Number of observations so far."""

    def shift_since(self, earlier: RunningStatistics) -> float:
        """Return the distance of the observations since ``earlier`` from the running mean, in standard deviations.

        The largest over all entries, divided by the share of observations in ``earlier``, so that linear growth yields
        sqrt(3) whatever that share is.
        """
        recent = (self.count * self.mean - earlier.count * earlier.mean) / (self.count - earlier.count)
        return float(((recent - self.mean).abs() / self.std.clamp(min=1e-2)).max()) * self.count / earlier.count


@dataclass(frozen=True)
class CheckpointReport:
    """The result of examining a run's checkpoints."""

    num_checkpoints: int
    findings: dict[str, Finding]
    """By the rules' names."""
    shift: float | None
    """Largest lasting shift of an observation, in standard deviations; None if the checkpoints are too few to tell."""
    settings: Mapping[str, Any]
    """The ``algorithm`` section in the newest readable checkpoint of TruDi, REPPO or DIME; empty if there is none."""
    not_read: dict[str, str]
    """Name of each undamaged file that could not be read, and the reason: it is from another program or version."""


def examine_checkpoints(run: Path) -> CheckpointReport:
    """Examine the checkpoints ``model_*.pt`` in a run folder."""
    files = sorted(run.glob(CHECKPOINTS), key=lambda path: (_iteration(path), path.name))
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
        weights = dict(_weights(content))
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
            f"Damaged or incomplete: {_names(damaged)}.",
            f"--resume skips them; {newest}. Check the disk that they were written to, and delete them.",
            _iteration(damaged[0]),
        )
    if not_finite:
        findings["non-finite weights"] = Finding(
            f"Weights are NaN or infinite in {_names(not_finite)}.",
            f"Resume from an earlier checkpoint ({newest}) with a lower agent.algorithm.learning_rate.",
            _iteration(not_finite[0]),
        )
    shifts = [shift for series in normalisers.values() if (shift := _lasting_shift(series)) is not None]
    shift = max(shifts, default=None)
    if shift is not None and shift > MAX_SHIFT:
        findings["normaliser drift"] = drift_finding(shift)
    return CheckpointReport(len(files), findings, shift, settings, not_read)


def _iteration(file: Path) -> int:
    number = re.search(r"\d+", file.name)
    return int(number[0]) if number else 0


def _names(files: Sequence[Path]) -> str:
    return ", ".join(file.name for file in files)


def _weights(content: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and tensors of all modules, without those of the optimisers."""
    for section, state in content.items():
        if section.endswith("state_dict") and isinstance(state, Mapping):
            for name, value in state.items():
                if isinstance(value, Tensor):
                    yield f"{section}.{name}", value


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
        before = [s for s in series if MIN_COUNT_RATIO * last.count <= s.count <= MAX_COUNT_RATIO * last.count]
        if not before:
            return None
        shifts.append(last.shift_since(before[-1]))
        last = before[-1]
    return min(shifts)
