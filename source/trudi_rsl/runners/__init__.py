# SPDX-License-Identifier: BSD-3-Clause
"""Training loops."""

import trudi_rsl.rsl_rl_compat  # noqa: F401  refuses unsupported versions of RSL-RL before they are used
from trudi_rsl.runners.on_policy_runner import OnPolicyRunner

__all__ = ["OnPolicyRunner"]
