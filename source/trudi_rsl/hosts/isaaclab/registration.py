# SPDX-License-Identifier: BSD-3-Clause
"""Adds configurations of TruDi and its relatives to every Isaac Lab task, beside that of PPO; tasks need no change.

Isaac Lab 3.0 loads this module through the entry-point group ``isaaclab.tasks``; with 2.3, ``import
trudi_rsl.hosts.isaaclab`` does. Every ``isaaclab`` command loads it, so it imports neither torch nor Isaac Lab except
in the functions that make a configuration.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import gymnasium
from gymnasium.envs import registration

from trudi_rsl.environments.description import HostFunctions, register_host

PPO_KEY = "rsl_rl_cfg_entry_point"
"""Key of a task's PPO configuration for RSL-RL in its registration."""


def agent_key(algo: str) -> str:
    """Return the key of a task's configuration for an algorithm, which is also the argument of Isaac Lab's --agent."""
    return PPO_KEY if algo == "ppo" else f"rsl_rl_{algo}_cfg_entry_point"


TRUDI_KEY = agent_key("trudi")
"""Key of a task's TruDi configuration."""
_SOURCES: dict[str, str] = {
    **dict.fromkeys(("trudi", "spo", "dppo", "fpo"), PPO_KEY),
    **dict.fromkeys(("reppo", "dime"), TRUDI_KEY),
}
"""Algorithms, and the key of the configuration that theirs is made from."""


def __getattr__(name: str) -> Callable[[], Any]:
    """Return the factory of the configuration ``<Gymnasium id>@<algorithm>``, which Isaac Lab resolves in this module.

    Raises:
        AttributeError: No task of that id has a configuration to make it from.
    """
    task, _, algo = name.rpartition("@")
    source, spec = _SOURCES.get(algo), gymnasium.registry.get(task)
    if spec is None or source not in spec.kwargs:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: no such task with such a configuration")

    def agent_cfg() -> Any:
        from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]

        from trudi_rsl.hosts.isaaclab.conversion import convert

        return convert(task, load_cfg_from_registry(task, source), cast("Any", algo))

    return agent_cfg


def add_agents() -> None:
    """Add to every registered task the configurations that can be made from its own and that it lacks."""
    for task, spec in registration.registry.items():
        for algo, source in _SOURCES.items():
            if source in spec.kwargs:
                # Text instead of an object, because registrations are copied and written as JSON.
                spec.kwargs.setdefault(agent_key(algo), f"{__name__}:{task}@{algo}")


_gymnasium_spec = registration.spec


@functools.wraps(_gymnasium_spec)
def _spec_with_agents(*args: Any, **kwargs: Any) -> registration.EnvSpec:
    add_agents()
    return _gymnasium_spec(*args, **kwargs)


def register() -> None:
    """Add the configurations to all tasks, including those registered later; calling it again is harmless.

    Isaac Lab has no hook for tasks that projects register, but it calls ``gymnasium.spec`` whenever it reads a task's
    configurations, so that is wrapped.
    """
    registration.spec = gymnasium.spec = _spec_with_agents
    add_agents()


def _host_functions() -> HostFunctions:
    from trudi_rsl.hosts.isaaclab.description import describe, term_bounds

    return HostFunctions(describe, term_bounds)


register_host("isaaclab", _host_functions)
register()
