# SPDX-License-Identifier: BSD-3-Clause
"""One configuration factory per task: Isaac Lab resolves ``trudi_rsl.hosts.isaaclab.agents:<task>`` to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trudi_rsl.hosts.isaaclab.registration import PPO_KEY

if TYPE_CHECKING:
    from trudi_rsl.hosts.isaaclab.cfg import RslRlTrudiRunnerCfg


def __getattr__(task: str) -> Callable[[], RslRlTrudiRunnerCfg]:
    """Return a function without arguments that makes the task's TruDi configuration from its PPO configuration.

    Args:
        task: A registered Gymnasium id.

    Raises:
        AttributeError: If no task of that name has a configuration for RSL-RL.
    """
    import gymnasium

    spec = gymnasium.registry.get(task)
    if spec is None or PPO_KEY not in spec.kwargs:
        raise AttributeError(
            f"module {__name__!r} has no attribute {task!r}: no such task with an RSL-RL configuration"
        )

    def trudi_cfg() -> RslRlTrudiRunnerCfg:
        from isaaclab_tasks.utils.parse_cfg import (  # pyright: ignore[reportMissingImports]
            load_cfg_from_registry,
        )

        from trudi_rsl.hosts.isaaclab.conversion import trudi_from_ppo

        return trudi_from_ppo(task, load_cfg_from_registry(task, PPO_KEY))

    return trudi_cfg
