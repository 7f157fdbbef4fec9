# SPDX-License-Identifier: BSD-3-Clause
"""Isaac Lab. Importing this gives every task of Isaac Lab 2.3 a TruDi configuration; 3.0 does it by itself."""

from trudi_rsl.hosts.isaaclab.tasks import PPO_KEY, TRUDI_KEY, register

__all__ = ["PPO_KEY", "TRUDI_KEY", "register"]
