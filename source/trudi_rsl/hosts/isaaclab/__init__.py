# SPDX-License-Identifier: BSD-3-Clause
"""Isaac Lab. Importing this gives every task a TruDi configuration: the one line that Isaac Lab 2.3 needs.

Isaac Lab 3.0 does it by itself, in every command, so nothing heavy is imported there.
"""

from importlib.metadata import version

from trudi_rsl.hosts.isaaclab.registration import PPO_KEY, TRUDI_KEY, register

if version("rsl-rl-lib").startswith("3."):
    from trudi_rsl.rsl_rl_3 import register_in_runner

    register_in_runner()

__all__ = ["PPO_KEY", "TRUDI_KEY", "register"]
