# SPDX-License-Identifier: BSD-3-Clause
"""Trust-region diffusion policies (TruDi) for RSL-RL."""

from trudi_rsl.rsl_rl_compat import check_version

check_version()

__version__ = "0.1.0"
