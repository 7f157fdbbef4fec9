# SPDX-License-Identifier: BSD-3-Clause
"""Gymnasium's tasks as RSL-RL environments."""

try:
    from gymnasium.vector import AutoresetMode  # noqa: F401  new in gymnasium 1.1
except ImportError as error:
    raise ImportError('Gymnasium tasks need gymnasium 1.2 or newer: pip install "gymnasium[mujoco]>=1.2"') from error

import trudi_rsl.rsl_rl_compat  # noqa: F401  refuses unsupported versions of RSL-RL before they are used
