# SPDX-License-Identifier: BSD-3-Clause
"""The only place that knows RSL-RL's versions."""

from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE, check_version

check_version()  # before the imports below, which fail under other versions without saying why

from trudi_rsl.environments.action_bounds import action_bounds  # noqa: E402
from trudi_rsl.environments.description import describe_environment  # noqa: E402
from trudi_rsl.rsl_rl_compat.class_names import ALGORITHM_CLASS_NAME, POLICY_CLASS_NAME  # noqa: E402
from trudi_rsl.rsl_rl_compat.contract import (  # noqa: E402
    check_groups,
    check_logger,
    request_final_obs,
    resolve_groups,
    task_name,
)
from trudi_rsl.rsl_rl_compat.register import register_in_runner  # noqa: E402

__all__ = [
    "ALGORITHM_CLASS_NAME",
    "POLICY_CLASS_NAME",
    "POLICY_STYLE",
    "action_bounds",
    "check_groups",
    "check_logger",
    "check_version",
    "describe_environment",
    "register_in_runner",
    "request_final_obs",
    "resolve_groups",
    "task_name",
]
