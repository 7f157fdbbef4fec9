# SPDX-License-Identifier: BSD-3-Clause
"""The rules during training."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from trudi_rsl.health.history import Finding, History
from trudi_rsl.health.rules import RULES

KEPT = 4096
"""Iterations that are remembered, at least."""


class Watch:
    """Warns once for each rule that finds something wrong with a training.

    Args:
        settings: The ``algorithm`` section that the run is trained with.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._values: dict[str, np.ndarray] = {}
        self._length = self._forgotten = 0
        self._rules = list(RULES)
        self._last: float | None = None

    def observe(self, metrics: Mapping[str, float], seconds: float | None = None) -> dict[str, Finding]:
        """Take in an iteration, and warn of what is found for the first time.

        Args:
            metrics: What was logged of it.
            seconds: What it took; None takes the time since the last call.

        Returns:
            What it warned of, by the rules' names.
        """
        now = time.monotonic()
        if seconds is None:
            seconds = np.nan if self._last is None else now - self._last
        self._last = now
        self._append({**metrics, "seconds": seconds})
        history = self.history
        found = {rule.name: finding for rule in self._rules if (finding := rule.find(history)) is not None}
        self._rules = [rule for rule in self._rules if rule.name not in found]
        for finding in found.values():
            warnings.warn(f"{finding.what} {finding.remedy}", stacklevel=4)
        return found

    @property
    def history(self) -> History:
        """What is remembered."""
        iterations = self._forgotten + np.arange(self._length)
        return History(iterations, {n: v[: self._length] for n, v in self._values.items()}, self._settings)

    def _append(self, metrics: Mapping[str, float]) -> None:
        if self._length == 2 * KEPT:
            for values in self._values.values():
                values[:KEPT] = values[KEPT:]
            self._length, self._forgotten = KEPT, self._forgotten + KEPT
        for name in metrics.keys() - self._values.keys():
            self._values[name] = np.full(2 * KEPT, np.nan)
        for name, values in self._values.items():
            values[self._length] = metrics.get(name, np.nan)
        self._length += 1
