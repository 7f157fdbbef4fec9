# SPDX-License-Identifier: BSD-3-Clause
"""Registers ``<task>-TruDi`` beside each mjlab task, with no edit to the task.

mjlab loads this module through the entry-point group ``mjlab.tasks``, at the end of ``import mjlab``. Its own tasks are
registered then, by the import below; those of other packages may come before or after.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from mjlab.rl import RslRlOnPolicyRunnerCfg  # pyright: ignore[reportMissingImports]
from mjlab.tasks import registry  # pyright: ignore[reportMissingImports]

from trudi_rsl.environments.description import HostFunctions, register_host

if TYPE_CHECKING:
    from trudi_rsl.hosts.mjlab.conversion import TruDiRunnerCfg

SUFFIX = "-TruDi"
"""What is put behind a task's name."""


class DeferredCfg:
    """A TruDi configuration that is made from the task's PPO configuration when it is asked for.

    ``mjlab.tasks.registry.load_rl_cfg`` hands out deep copies of what was registered; the copy of this is the
    configuration. So a task costs nothing until it is used, and only what is used is told about.

    Args:
        task: Name of the PPO task.
        ppo: Its runner configuration.
    """

    def __init__(self, task: str, ppo: RslRlOnPolicyRunnerCfg) -> None:
        self._task, self._ppo = task, ppo

    def __deepcopy__(self, memo: dict[int, Any]) -> TruDiRunnerCfg:
        from trudi_rsl.hosts.mjlab.conversion import trudi_from_ppo

        return trudi_from_ppo(self._task, self._ppo)


def why_not(rl_cfg: Any) -> str | None:
    """Return why TruDi cannot stand in for PPO in a task with this runner configuration, None if it can."""
    if not isinstance(rl_cfg, RslRlOnPolicyRunnerCfg):
        return f"its configuration is a {type(rl_cfg).__name__}, and TruDi starts from an RslRlOnPolicyRunnerCfg"
    if rl_cfg.actor.cnn_cfg is not None or rl_cfg.critic.cnn_cfg is not None:
        return "its policy sees images, and TruDi takes vectors"
    return None


def register() -> None:
    """Register the TruDi tasks of all present tasks, and of each that is registered later; further calls do nothing."""
    if getattr(registry.register_mjlab_task, "adds_trudi", False):
        return
    original = registry.register_mjlab_task

    def add_trudi(task_id: str, env_cfg: Any, play_env_cfg: Any, rl_cfg: Any, runner_cls: type | None = None) -> None:
        if task_id.endswith(SUFFIX) or why_not(rl_cfg) is not None:
            return
        from trudi_rsl.hosts.mjlab.runners import trudi_runner

        original(
            task_id + SUFFIX, env_cfg, play_env_cfg, DeferredCfg(task_id, rl_cfg), trudi_runner(task_id, runner_cls)
        )

    @functools.wraps(original)
    def register_with_trudi(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        add_trudi(*args, **kwargs)

    for task in registry.list_tasks():
        add_trudi(
            task,
            registry.load_env_cfg(task),
            registry.load_env_cfg(task, play=True),
            registry.load_rl_cfg(task),
            registry.load_runner_cls(task),
        )
    register_with_trudi.adds_trudi = True  # pyright: ignore[reportFunctionMemberAccess, reportAttributeAccessIssue]
    registry.register_mjlab_task = register_with_trudi


def _host_functions() -> HostFunctions:
    from trudi_rsl.hosts.mjlab.description import describe, term_bounds

    return HostFunctions(describe, term_bounds)


register_host("mjlab", _host_functions)
register()
