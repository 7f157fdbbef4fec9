# SPDX-License-Identifier: BSD-3-Clause
"""Gymnasium as a host: its tasks as RSL-RL environments."""
