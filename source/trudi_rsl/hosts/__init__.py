# SPDX-License-Identifier: BSD-3-Clause
"""Simulators as RSL-RL environments. Import the module of the host you use; each needs its own simulator."""
