# SPDX-License-Identifier: BSD-3-Clause
"""TruDi under RSL-RL 3, whose runner builds a policy and passes it to the algorithm."""

from trudi_rsl.rsl_rl_3.policy import register_in_runner

__all__ = ["register_in_runner"]
