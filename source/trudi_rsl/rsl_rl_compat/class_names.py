# SPDX-License-Identifier: BSD-3-Clause
"""How a configuration names TruDi to the installed RSL-RL's runner."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

_INSTALLED = Version(version("rsl-rl-lib"))

POLICY_STYLE = _INSTALLED < Version("4")
"""Whether the runner builds the policy from a section of its own and hands it to the algorithm (RSL-RL 3)."""

ALGORITHM_CLASS_NAME = "TruDi" if POLICY_STYLE else "trudi_rsl.algorithms:TruDi"
"""``algorithm.class_name``."""

POLICY_CLASS_NAME = "DiffusionActorCritic.for_env(self.env)"
"""``policy.class_name``: RSL-RL 3 evaluates it in its runner, whose ``self.env`` knows the action bounds."""
