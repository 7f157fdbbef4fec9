# SPDX-License-Identifier: BSD-3-Clause
"""Agent configurations of the task."""
