# SPDX-License-Identifier: BSD-3-Clause
"""Swinging up a pendulum."""
