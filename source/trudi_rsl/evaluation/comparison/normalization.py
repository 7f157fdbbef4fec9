# SPDX-License-Identifier: BSD-3-Clause
"""Returns of different tasks on one scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trudi_rsl.config.yaml_file import read_yaml
from trudi_rsl.errors import ConfigError, nearest


@dataclass(frozen=True)
class Range:
    """Returns of a task that count as 0 and as 1, such as those of a random policy and of a good one."""

    low: float
    high: float

    def score(self, value: float) -> float:
        """Return ``(value - low) / (high - low)``."""
        return (value - self.low) / (self.high - self.low)


def read_ranges(given: Sequence[str] = (), reference: Path | None = None) -> dict[str, Range]:
    """Return the ranges of tasks, those given here over those of the file.

    Args:
        given: ``TASK=low,high``.
        reference: YAML or JSON file of ``TASK: [low, high]``.

    Raises:
        ConfigError: If one cannot be read, or is no range.
        OSError: If the file cannot be opened.
    """
    ranges = {}
    if reference is not None:
        stored = read_yaml(reference)
        if not isinstance(stored, Mapping):
            raise ConfigError(f"{reference} must hold lines TASK: [low, high].")
        ranges = ranges_of(stored, str(reference))
    for text in given:
        task, equals, bounds = text.rpartition("=")
        if not equals:
            raise ConfigError(f"Cannot read {text!r} as a normalisation; write TASK=low,high, as Hopper-v5=0,3000.")
        ranges |= ranges_of({task: bounds.split(",")}, text)
    return ranges


def ranges_of(bounds: Mapping[str, Any], source: str) -> dict[str, Range]:
    """Return the ranges that a mapping of tasks to ``[low, high]`` holds.

    Args:
        bounds: The mapping.
        source: Where it is from, for error messages.

    Raises:
        ConfigError: If an entry is not two different finite numbers.
    """
    ranges = {}
    for task, entry in bounds.items():
        try:
            low, high = (float(value) for value in entry)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(f"{source}: {task} needs two numbers, low and high, not {entry!r}.") from None
        if not (math.isfinite(low) and math.isfinite(high) and low != high):
            raise ConfigError(f"{source}: low and high of {task} must be finite and differ, got {low:g} and {high:g}.")
        ranges[task] = Range(low, high)
    return ranges


def require_ranges(tasks: Iterable[str], ranges: Mapping[str, Range]) -> None:
    """Refuse to aggregate tasks whose returns are of different scale.

    Raises:
        ConfigError: If there are several tasks and one has no range; says what to do.
    """
    tasks = list(dict.fromkeys(tasks))
    missing = [task for task in tasks if task not in ranges]
    if len(tasks) < 2 or not missing:
        return
    hint = f" There is one for {', '.join(ranges)}. {nearest(missing[0], ranges)}" if ranges else ""
    raise ConfigError(
        f"These checkpoints are of {len(tasks)} tasks ({', '.join(tasks)}), whose returns have different scales, so "
        f"one mean over them says nothing. No range to normalise by: {', '.join(missing)}.{hint} Give --normalize "
        f"{' '.join(f'{task}=low,high' for task in missing)}, a --reference file, or --by_task for statistics of each "
        "task alone."
    )
