# SPDX-License-Identifier: BSD-3-Clause
"""Rules that recognise common problems of a training in its logged scalars and name the setting to change."""

from trudi_rsl.health.history import Finding, History
from trudi_rsl.health.rules import RULES, Rule, Watch, examine

__all__ = ["RULES", "Finding", "History", "Rule", "Watch", "examine"]
