# SPDX-License-Identifier: BSD-3-Clause
"""Registers ``<task>-TruDi`` beside each mjlab task; tasks need no change.

mjlab loads this module through the entry-point group ``mjlab.tasks`` at the end of ``import mjlab``. Its own tasks are
registered by then, those of other packages before or after.
"""

from __future__ import annotations

import functools
from typing import Any

from mjlab.rl import RslRlOnPolicyRunnerCfg  # pyright: ignore[reportMissingImports]
from mjlab.tasks import registry  # pyright: ignore[reportMissingImports]

from trudi_rsl.environments.description import HostFunctions, register_host
from trudi_rsl.hosts.mjlab.conversion import TruDiRunnerCfg, trudi_from_ppo, why_not
from trudi_rsl.hosts.mjlab.description import describe, term_bounds
from trudi_rsl.hosts.mjlab.runners import trudi_runner
from trudi_rsl.hosts.mjlab.task import SUFFIX


class DeferredCfg:
    """A task's TruDi configuration, made from its PPO configuration only when it is loaded, and then logged.

    ``mjlab.tasks.registry.load_rl_cfg`` returns deep copies of registered configurations; the deep copy of this object
    is the TruDi configuration.
    """

    def __init__(self, task: str, ppo: RslRlOnPolicyRunnerCfg) -> None:
        self._task, self._ppo = task, ppo

    def __deepcopy__(self, memo: dict[int, Any]) -> TruDiRunnerCfg:
        return trudi_from_ppo(self._task, self._ppo)


_register_mjlab_task = registry.register_mjlab_task


def _add_trudi(task_id: str, env_cfg: Any, play_env_cfg: Any, rl_cfg: Any, runner_cls: type | None = None) -> None:
    if task_id.endswith(SUFFIX) or why_not(rl_cfg) is not None:
        return
    cfg, runner = DeferredCfg(task_id, rl_cfg), trudi_runner(task_id, runner_cls)
    _register_mjlab_task(task_id + SUFFIX, env_cfg, play_env_cfg, cfg, runner)


@functools.wraps(_register_mjlab_task)
def _register_with_trudi(*args: Any, **kwargs: Any) -> None:
    _register_mjlab_task(*args, **kwargs)
    _add_trudi(*args, **kwargs)


def register() -> None:
    """Register the TruDi tasks of all present and future tasks; calling it again does nothing.

    mjlab has no hook for tasks that are registered later, so its ``register_mjlab_task`` is wrapped.
    """
    if registry.register_mjlab_task is _register_with_trudi:
        return
    for task in registry.list_tasks():
        env_cfg, play_env_cfg = registry.load_env_cfg(task), registry.load_env_cfg(task, play=True)
        _add_trudi(task, env_cfg, play_env_cfg, registry.load_rl_cfg(task), registry.load_runner_cls(task))
    registry.register_mjlab_task = _register_with_trudi


register_host("mjlab", lambda: HostFunctions(describe, term_bounds))
register()
