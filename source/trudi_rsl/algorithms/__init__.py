# SPDX-License-Identifier: BSD-3-Clause
"""Algorithms that train under RSL-RL's runners."""

from trudi_rsl.algorithms.checkpoint import load_actor_critic
from trudi_rsl.algorithms.config import TruDiCfg
from trudi_rsl.algorithms.family import DIMECfg, REPPOCfg
from trudi_rsl.algorithms.policy_gradient import DPPO, FPO, SPO
from trudi_rsl.algorithms.trudi import TruDi

__all__ = ["DPPO", "FPO", "SPO", "DIMECfg", "REPPOCfg", "TruDi", "TruDiCfg", "load_actor_critic"]
