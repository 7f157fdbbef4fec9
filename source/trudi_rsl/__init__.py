# SPDX-License-Identifier: BSD-3-Clause
"""Trust-region diffusion policies (TruDi) for RSL-RL."""

import trudi_rsl.rsl_rl_compat  # noqa: F401  refuses versions of RSL-RL that do not fit, before anything uses them

__version__ = "0.1.0"
