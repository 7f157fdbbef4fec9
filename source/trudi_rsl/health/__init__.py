# SPDX-License-Identifier: BSD-3-Clause
"""Rules that tell from the logged scalars of a training what is wrong with it and which setting to change."""

from trudi_rsl.health.history import Finding, History
from trudi_rsl.health.rules import RULES, Rule, examine
from trudi_rsl.health.watch import Watch

__all__ = ["RULES", "Finding", "History", "Rule", "Watch", "examine"]
