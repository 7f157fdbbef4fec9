# SPDX-License-Identifier: BSD-3-Clause
"""Relatives of RSL-RL's PPO that share its actor-critic scheme and differ in policy or surrogate."""

from trudi_rsl.algorithms.policy_gradient.generative import DPPO, FPO
from trudi_rsl.algorithms.policy_gradient.policy_gradient import SPO, PolicyGradient

__all__ = ["DPPO", "FPO", "SPO", "PolicyGradient"]
