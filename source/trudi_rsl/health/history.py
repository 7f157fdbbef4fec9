# SPDX-License-Identifier: BSD-3-Clause
"""The input and the output of a rule: logged scalars, and a finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from trudi_rsl.plain_values import is_finite

ALWAYS_LOGGED = ("skipped_updates", "nonfinite_envs", "seconds", "collection_seconds", "learning_seconds")
"""Scalars that are also logged in iterations without an update."""


@dataclass(frozen=True)
class History:
    """Logged scalars of successive iterations."""

    iterations: np.ndarray
    """Numbers of the iterations ``[n]``, ascending; the first of a run is 0."""
    scalars: Mapping[str, np.ndarray]
    """Name, as ``TruDi.update`` returns it, to one value per iteration ``[n]``; NaN in iterations that did not log it.
    ``seconds`` is the duration of an iteration. Scalars that the algorithm does not log are missing."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The ``algorithm`` section of the run's configuration; empty if unknown."""

    def __len__(self) -> int:
        return len(self.iterations)

    def setting(self, name: str) -> float | None:
        """Return a setting that is a positive number; None for anything else, since settings may be foreign."""
        value = self.settings.get(name)
        return value if is_finite(value) and value > 0 else None

    def has(self, *names: str) -> bool:
        """Return whether all these scalars were logged."""
        return {*names} <= self.scalars.keys()

    def select(self, mask: np.ndarray) -> Self:
        """Return the iterations of a bool mask ``[n]``."""
        if mask.all():
            return self
        scalars = {name: values[mask] for name, values in self.scalars.items()}
        return replace(self, iterations=self.iterations[mask], scalars=scalars)

    def where_logged(self, *names: str) -> Self:
        """Return the iterations that logged all these scalars, possibly none; a skipped update logs only a few."""
        if not self.has(*names):
            return self.select(np.zeros(len(self), dtype=bool))
        return self.select(~np.any([np.isnan(self.scalars[name]) for name in names], axis=0))

    def without_update(self) -> np.ndarray:
        """Return the bool mask ``[n]`` of iterations whose rollout had too few finite numbers to learn from.

        They are counted as skipped, and no loss is logged for them.
        """
        if not self.has("skipped_updates", "nonfinite_envs"):
            return np.zeros(len(self), dtype=bool)
        has_losses = [~np.isnan(values) for name, values in self.scalars.items() if name not in ALWAYS_LOGGED]
        return (self.scalars["skipped_updates"] > 0) & ~np.any(has_losses, axis=0)

    def start_of(self, violated: np.ndarray) -> int:
        """Return the iteration since which ``violated``, bool ``[n]``, has been true without interruption."""
        fine = np.flatnonzero(~violated)
        return int(self.iterations[min(fine[-1] + 1, len(violated) - 1) if len(fine) else 0])


@dataclass(frozen=True)
class Finding:
    """A rule that is violated."""

    what: str
    """What was measured, in a sentence."""
    remedy: str
    """What to change, with the command-line override if there is one."""
    since: int | None = None
    """First iteration in which the rule was violated; None if unknown."""


def override_value(value: float) -> str:
    """Return a number rounded to one significant digit, without an exponent, as in an override."""
    return np.format_float_positional(float(f"{value:.1g}"), trim="-")
