# SPDX-License-Identifier: BSD-3-Clause
"""What a rule reads and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from trudi_rsl.plain_values import is_finite

ALWAYS_LOGGED = ("skipped_updates", "nonfinite_envs", "seconds", "collection_seconds", "learning_seconds")
"""Scalars that an iteration has though there was nothing to learn from."""


@dataclass(frozen=True)
class History:
    """Logged scalars of successive iterations."""

    iterations: np.ndarray
    """Numbers of the iterations ``[n]``, ascending; the run's first is 0."""
    scalars: Mapping[str, np.ndarray]
    """Names, as ``TruDi.update`` returns them, to one value per iteration ``[n]``. ``seconds`` is the time that an
    iteration took. What an algorithm does not log is missing, and NaN in iterations that did not log it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The ``algorithm`` section that the run was trained with; empty where unknown."""

    def __len__(self) -> int:
        return len(self.iterations)

    def setting(self, name: str) -> float | None:
        """Return a setting that is a number above 0, None where it is something else: settings may be another's."""
        value = self.settings.get(name)
        return value if is_finite(value) and value > 0 else None

    def has(self, *names: str) -> bool:
        """Return whether all these scalars were logged."""
        return all(name in self.scalars for name in names)

    def rows(self, chosen: np.ndarray) -> Self:
        """Return the iterations for which ``chosen``, bool ``[n]``, is true."""
        if chosen.all():
            return self
        scalars = {name: values[chosen] for name, values in self.scalars.items()}
        return replace(self, iterations=self.iterations[chosen], scalars=scalars)

    def where_logged(self, *names: str) -> Self:
        """Return the iterations in which all these scalars are numbers; an update that was skipped gives few."""
        return self.rows(~np.any([np.isnan(self.scalars[name]) for name in names], axis=0))

    def without_update(self) -> np.ndarray:
        """Return in which iterations there was nothing to learn from, bool ``[n]``: no loss was logged either."""
        if not self.has("skipped_updates", "nonfinite_envs"):
            return np.zeros(len(self), dtype=bool)
        learned = [~np.isnan(values) for name, values in self.scalars.items() if name not in ALWAYS_LOGGED]
        return (self.scalars["skipped_updates"] > 0) & ~np.any(learned, axis=0)

    def tail(self, name: str, length: int) -> np.ndarray:
        """Return the last values ``[<= length]`` of a scalar."""
        return self.scalars[name][-length:]

    def start_of(self, ill: np.ndarray) -> int:
        """Return the iteration since which ``ill``, bool ``[n]``, is true without a break up to the last one."""
        well = np.flatnonzero(~ill)
        return int(self.iterations[min(well[-1] + 1, len(ill) - 1) if len(well) else 0])


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a run."""

    what: str
    """One sentence: what was measured."""
    remedy: str
    """What to change, with the override that does it where there is one."""
    since: int | None = None
    """First iteration of the illness; None where it has none."""


def plain(value: float, digits: int = 1) -> str:
    """Return a number as an override takes it: rounded to significant digits, and without an exponent."""
    return np.format_float_positional(float(f"{value:.{digits}g}"), trim="-")
