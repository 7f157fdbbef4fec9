# SPDX-License-Identifier: BSD-3-Clause
"""What the checkpoints of a run tell of its health: damage, weights that are not finite, and its normalisers."""

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
from trudi_rsl.evaluation.identify import CHECKPOINTS
from trudi_rsl.files import is_whole
from trudi_rsl.health import Finding
from trudi_rsl.health.task import MAX_SHIFT, drifting

STEP_BACK = 0.7
"""Largest share of its successor's observations that a checkpoint has seen to be compared with it."""

LEAST_STEP = 0.3
"""Smallest such share: between checkpoints further apart than that, all training lies."""


@dataclass(frozen=True)
class Statistics:
    """Running statistics of one normaliser in one checkpoint."""

    mean: Tensor
    """``[O]``."""
    std: Tensor
    """``[O]``."""
    count: float
    """Observations so far."""

    def shift_since(self, earlier: Statistics) -> float:
        """Return how far the observations since ``earlier`` lie from the running mean, in standard deviations.

        In units of the share of observations before, so that linear growth gives sqrt(3) however far back that is. The
        largest over all entries.
        """
        recent = (self.count * self.mean - earlier.count * earlier.mean) / (self.count - earlier.count)
        return float(((recent - self.mean).abs() / self.std.clamp(min=1e-2)).max()) * self.count / earlier.count


@dataclass(frozen=True)
class CheckpointReport:
    """What was found in a run's checkpoints."""

    num_checkpoints: int
    """How many there are."""
    findings: dict[str, Finding]
    """By the rules' names."""
    settings: Mapping[str, Any]
    """Of the newest readable checkpoint of TruDi's learner; empty where there is none."""
    not_read: dict[str, str]
    """Names of whole files that were not read, and why: other programs' or earlier versions'."""


def examine_checkpoints(run: Path) -> CheckpointReport:
    """Return what is wrong with the checkpoints ``model_*.pt`` in a run folder."""
    files = sorted(run.glob(CHECKPOINTS), key=lambda path: (_iteration(path), path.name))
    damaged, not_finite, usable, not_read = [], [], [], {}
    statistics, settings = {}, {}
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
        for name, values in _normalisers(weights).items():
            statistics.setdefault(name, []).append(values)
    findings = {}
    if damaged:
        findings["damaged checkpoint"] = Finding(
            f"Damaged or only half there: {_names(damaged)}.",
            f"--resume passes over them{_newest(usable)}. Look at the disk they were written to, and delete them.",
            _iteration(damaged[0]),
        )
    if not_finite:
        findings["non-finite weights"] = Finding(
            f"Weights are NaN or infinite in {_names(not_finite)}.",
            f"Resume from an earlier checkpoint{_newest(usable)} with a lower agent.algorithm.learning_rate.",
            _iteration(not_finite[0]),
        )
    shifts = [shift for series in statistics.values() if (shift := _lasting_shift(series)) is not None]
    if shifts and max(shifts) > MAX_SHIFT:
        findings["normaliser drift"] = drifting(max(shifts))
    return CheckpointReport(len(files), findings, settings, not_read)


def _iteration(file: Path) -> int:
    number = re.search(r"\d+", file.name)
    return int(number[0]) if number else 0


def _names(files: Sequence[Path]) -> str:
    return ", ".join(file.name for file in files)


def _newest(usable: Sequence[Path]) -> str:
    return f"; the newest sound one is {usable[-1].name}" if usable else "; no sound one is left"


def _weights(content: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of all modules, not those of the optimisers."""
    for section, state in content.items():
        if section.endswith("state_dict") and isinstance(state, Mapping):
            for name, value in state.items():
                if isinstance(value, Tensor):
                    yield f"{section}.{name}", value


def _normalisers(weights: Mapping[str, Tensor]) -> dict[str, Statistics]:
    """Return the statistics of all normalisers that have seen something, by their names."""
    found = {}
    for name in weights:
        prefix = name.removesuffix("_mean")
        if prefix != name and {f"{prefix}_var", f"{prefix}count"} <= weights.keys():
            mean, var, count = (weights[f"{prefix}{part}"].double().flatten() for part in ("_mean", "_var", "count"))
            if count > 0:
                found[prefix] = Statistics(mean, var.sqrt(), float(count))
    return found


def _lasting_shift(series: Sequence[Statistics]) -> float | None:
    """Return the smaller shift of the last two stretches of a run; None where the checkpoints do not tell.

    A single change of the observations, as learning is one, shows in one of two successive stretches alone.
    """
    last, shifts = series[-1], []
    for _ in range(2):
        before = [s for s in series if LEAST_STEP * last.count <= s.count <= STEP_BACK * last.count]
        if not before:
            return None
        shifts.append(last.shift_since(before[-1]))
        last = before[-1]
    return min(shifts)
