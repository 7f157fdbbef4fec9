# SPDX-License-Identifier: BSD-3-Clause
"""Relatives of RSL-RL's PPO that share its actor-critic scheme and differ in policy or surrogate."""

from trudi_rsl.algorithms.policy_gradient.dppo import DPPO
from trudi_rsl.algorithms.policy_gradient.fpo import FPO
from trudi_rsl.algorithms.policy_gradient.policy_gradient import PolicyGradient
from trudi_rsl.algorithms.policy_gradient.spo import SPO

__all__ = ["DPPO", "FPO", "SPO", "PolicyGradient"]
