# SPDX-License-Identifier: BSD-3-Clause
"""The only place that knows RSL-RL's versions."""

from trudi_rsl.rsl_rl_compat.version import check_version

check_version()  # before the imports below, which fail under other versions without saying why

from trudi_rsl.rsl_rl_compat.contract import (  # noqa: E402
    action_bounds,
    check_groups,
    check_logger,
    resolve_groups,
    task_name,
)
from trudi_rsl.rsl_rl_compat.register import register_in_runner  # noqa: E402

__all__ = [
    "action_bounds",
    "check_groups",
    "check_logger",
    "check_version",
    "register_in_runner",
    "resolve_groups",
    "task_name",
]
