# SPDX-License-Identifier: BSD-3-Clause
"""Isaac Lab environments of the pendulum_tasks project."""
