# SPDX-License-Identifier: BSD-3-Clause
"""The list of all rules, and the watch that applies them during training."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trudi_rsl.health import learning_rules as learning
from trudi_rsl.health import simulator_rules as simulator
from trudi_rsl.health.history import Finding, History

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """A sign of a problem."""

    name: str
    """Name in reports and in ``docs/health.md``."""
    scalars: tuple[str, ...]
    """Scalars that the check reads."""
    check: Callable[[History], Finding | None]
    """Returns the finding, None if the rule holds; called with the iterations that logged the scalars, if they are
    enough and the settings are known."""
    iterations: int | Callable[[History], int]
    """Fewest iterations in which the rule can be violated."""
    settings: tuple[str, ...] = ()
    """Settings that the check reads, positive numbers."""

    def find(self, history: History) -> Finding | None:
        """Return the finding; None if the rule holds or cannot be judged."""
        readable = history.where_logged(*self.scalars)
        return self.check(readable) if self._missing(readable) is None else None

    def missing_data(self, history: History) -> str | None:
        """Return which data are missing to judge, such as ``8 of 20 iterations``; None if the rule can judge."""
        return self._missing(history.where_logged(*self.scalars))

    def _missing(self, readable: History) -> str | None:
        if not readable:
            return f"{', '.join(self.scalars)} not logged"
        if unknown := [name for name in self.settings if readable.setting(name) is None]:
            return f"unknown settings: {', '.join(unknown)}"
        needed = self.iterations if isinstance(self.iterations, int) else self.iterations(readable)
        return f"{len(readable)} of {needed} iterations" if len(readable) < needed else None


_FAULTS = ("nonfinite_envs", "skipped_updates")
_RANGE = ("clipped_targets", "value_range_low", "value_range_high")
_CRITIC = ("critic_grad_norm", "q_mean", *_RANGE)
_ENTROPY = ("entropy_per_dim", "entropy_target_per_dim", "alpha")

RULES = (
    Rule("skipped updates", ("skipped_updates",), simulator.skipped_updates, simulator.MIN_FAULTS),
    Rule("faulty environments", _FAULTS, simulator.faulty_environments, simulator.MIN_FAULTS),
    Rule("clipped targets", _RANGE, learning.clipped_targets, learning.CLIPPED_FOR),
    Rule("dead critic", _CRITIC, learning.dead_critic, learning.DEAD_FOR, ("num_bins",)),
    Rule("KL above eps", ("path_kl",), learning.kl_above_bound, learning.kl_iterations, learning.KL_SETTINGS),
    Rule("KL far above eps", ("path_kl",), learning.kl_far_above_bound, learning.FAR_FOR, ("kl_bound",)),
    Rule("entropy target", _ENTROPY, learning.entropy_target_missed, learning.growth_iterations),
    Rule("saturated actions", ("action_saturation",), learning.saturated_actions, learning.SATURATED_FOR),
    Rule("normaliser drift", ("observation_shift",), simulator.normaliser_drift, simulator.drift_iterations),
    Rule("throughput", ("seconds",), simulator.falling_throughput, simulator.throughput_iterations),
)
"""All rules; those whose violation causes others come first."""


def examine(history: History, rules: Iterable[Rule] = RULES) -> dict[str, Finding]:
    """Return the findings by the names of the violated rules."""
    return {rule.name: finding for rule in rules if (finding := rule.find(history)) is not None}


MIN_KEPT = 4096
"""Fewest iterations that a watch remembers once so many have passed."""


class Watch:
    """Warns once for each rule that a training violates.

    Args:
        settings: The ``algorithm`` section of the run's configuration.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._values: dict[str, np.ndarray] = {}
        self._length = self._dropped = 0
        self._rules = list(RULES)
        self._last_call = np.nan

    def observe(self, metrics: Mapping[str, float]) -> dict[str, Finding]:
        """Add an iteration, warn of rules that are violated for the first time, and return their findings by name.

        Args:
            metrics: The scalars that the iteration logs; its ``seconds`` default to the time since the last call.
        """
        now = time.monotonic()
        metrics = {"seconds": now - self._last_call, **metrics}
        self._last_call = now
        if self._length == 2 * MIN_KEPT:
            for values in self._values.values():
                values[:MIN_KEPT] = values[MIN_KEPT:]
            self._length, self._dropped = MIN_KEPT, self._dropped + MIN_KEPT
        for name in metrics.keys() - self._values.keys():
            self._values[name] = np.full(2 * MIN_KEPT, np.nan)
        for name, values in self._values.items():
            values[self._length] = metrics.get(name, np.nan)
        self._length += 1
        findings = examine(self.history, self._rules)
        self._rules = [rule for rule in self._rules if rule.name not in findings]
        for finding in findings.values():
            logger.warning("%s %s", finding.what, finding.remedy)
        return findings

    @property
    def history(self) -> History:
        """The iterations that are remembered."""
        iterations = self._dropped + np.arange(self._length)
        scalars = {name: values[: self._length] for name, values in self._values.items()}
        return History(iterations, scalars, self._settings)
