# SPDX-License-Identifier: BSD-3-Clause
"""Gymnasium's tasks as RSL-RL environments."""

import trudi_rsl.rsl_rl_compat  # noqa: F401  refuses unsupported versions of RSL-RL before they are used
