# SPDX-License-Identifier: BSD-3-Clause
"""The DeepMind Control Suite as dm_control has it, simulated by MuJoCo on the CPU."""
