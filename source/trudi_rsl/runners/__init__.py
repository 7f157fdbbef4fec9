# SPDX-License-Identifier: BSD-3-Clause
"""Training loops."""

import trudi_rsl.rsl_rl_compat  # noqa: F401  refuses versions of RSL-RL that do not fit, before anything uses them
from trudi_rsl.runners.on_policy_runner import OnPolicyRunner

__all__ = ["OnPolicyRunner"]
