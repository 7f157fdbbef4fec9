# SPDX-License-Identifier: BSD-3-Clause
"""How a configuration names TruDi to the installed RSL-RL's runner."""

from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE

ALGORITHM_CLASS_NAME = "TruDi" if POLICY_STYLE else "trudi_rsl.algorithms:TruDi"
"""``algorithm.class_name``."""

POLICY_CLASS_NAME = "DiffusionActorCritic.for_env(self.env)"
"""``policy.class_name``: RSL-RL 3 evaluates it in its runner, whose ``self.env`` knows the action bounds."""
