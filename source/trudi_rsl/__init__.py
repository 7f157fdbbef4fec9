# SPDX-License-Identifier: BSD-3-Clause
"""Trust-region diffusion policies (TruDi) for RSL-RL.

Importing this imports nothing else: hosts load the package to find what it registers, before they start a simulator.
What uses RSL-RL imports ``trudi_rsl.rsl_rl_compat`` first, which refuses versions that do not fit.
"""

__version__ = "0.1.0"
