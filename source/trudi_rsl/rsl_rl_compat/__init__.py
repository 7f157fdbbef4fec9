# SPDX-License-Identifier: BSD-3-Clause
"""The only place that knows RSL-RL's versions."""

from trudi_rsl.rsl_rl_compat.contract import action_bounds, check_version, resolve_groups, task_name

__all__ = ["action_bounds", "check_version", "resolve_groups", "task_name"]
