# SPDX-License-Identifier: BSD-3-Clause
"""Algorithms that train under RSL-RL's runners."""

import trudi_rsl.rsl_rl_compat  # noqa: F401  refuses unsupported versions of RSL-RL before they are used
from trudi_rsl.algorithms.policy_gradient import DPPO, FPO, SPO
from trudi_rsl.algorithms.trudi import DIME, REPPO, TruDi
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.settings import DIMECfg, REPPOCfg, TruDiCfg

__all__ = ["DIME", "DPPO", "FPO", "REPPO", "SPO", "DIMECfg", "REPPOCfg", "TruDi", "TruDiCfg", "load_actor_critic"]
