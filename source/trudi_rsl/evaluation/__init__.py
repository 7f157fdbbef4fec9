# SPDX-License-Identifier: BSD-3-Clause
"""Running trained policies, and what to say about the results."""

import trudi_rsl.rsl_rl_compat  # noqa: F401  refuses unsupported versions of RSL-RL before they are used
