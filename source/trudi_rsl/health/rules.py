# SPDX-License-Identifier: BSD-3-Clause
"""The list of all rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trudi_rsl.health.critic import clipped_targets, dead_critic
from trudi_rsl.health.faults import faulty_environments, skipped_updates
from trudi_rsl.health.history import Finding, History
from trudi_rsl.health.policy import entropy_target_missed, kl_above_bound, saturated_actions
from trudi_rsl.health.task import falling_throughput, normaliser_drift


@dataclass(frozen=True)
class Rule:
    """A sign of illness."""

    name: str
    """As reports and ``docs/health.md`` name it."""
    needs: tuple[str, ...]
    """Scalars without which it cannot tell."""
    check: Callable[[History], Finding | None]
    """Given at least one iteration of these scalars, and none without, returns what is wrong, None where nothing is or
    it is too early to tell."""

    def applies(self, history: History) -> bool:
        """Return whether what it needs was logged."""
        return self._seen(history) is not None

    def find(self, history: History) -> Finding | None:
        """Return what is wrong; None where nothing is, or what it needs was not logged."""
        seen = self._seen(history)
        return None if seen is None else self.check(seen)

    def _seen(self, history: History) -> History | None:
        """Return the iterations that logged what it needs, None if there are none."""
        if not history.has(*self.needs):
            return None
        return history.where_logged(*self.needs) or None


_RANGE = ("clipped_targets", "value_range_low", "value_range_high")

RULES = (
    Rule("skipped updates", ("skipped_updates",), skipped_updates),
    Rule("faulty environments", ("nonfinite_envs", "skipped_updates"), faulty_environments),
    Rule("clipped targets", _RANGE, clipped_targets),
    Rule("dead critic", ("critic_grad_norm", "q_mean", *_RANGE), dead_critic),
    Rule("KL above eps", ("path_kl",), kl_above_bound),
    Rule("entropy target", ("entropy_per_dim", "entropy_target_per_dim", "alpha"), entropy_target_missed),
    Rule("saturated actions", ("action_saturation",), saturated_actions),
    Rule("normaliser drift", ("observation_shift",), normaliser_drift),
    Rule("throughput", ("seconds",), falling_throughput),
)
"""All rules, those first whose illness brings others with it."""


def examine(history: History) -> dict[str, Finding]:
    """Return what all rules find, by their names."""
    return {rule.name: finding for rule in RULES if (finding := rule.find(history)) is not None}
