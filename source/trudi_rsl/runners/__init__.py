# SPDX-License-Identifier: BSD-3-Clause
"""The training loop and its hooks."""

import trudi_rsl.rsl_rl_compat  # noqa: F401  refuses unsupported versions of RSL-RL before they are used
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE
from trudi_rsl.runners.hooks import Hook

if POLICY_STYLE:
    from trudi_rsl.runners.rsl_rl_3 import OnPolicyRunner
else:
    from trudi_rsl.runners.on_policy_runner import OnPolicyRunner

__all__ = ["Hook", "OnPolicyRunner"]
