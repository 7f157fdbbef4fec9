# SPDX-License-Identifier: BSD-3-Clause
"""Adds configurations of TruDi and its relatives to every Isaac Lab task, beside those of PPO; tasks need no change.

Isaac Lab 3.0 loads this module through the entry-point group ``isaaclab.tasks``; with 2.3, ``import
trudi_rsl.hosts.isaaclab`` does. Every ``isaaclab`` command loads it, so it imports neither torch nor Isaac Lab except
in the functions that make a configuration.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, cast

import gymnasium
from gymnasium.envs import registration

from trudi_rsl.environments.description import HostFunctions, register_host

PPO_KEY = "rsl_rl_cfg_entry_point"
"""Key of a task's PPO configuration for RSL-RL in its registration."""


def agent_key(algo: str, variant: str = "") -> str:
    """Return the key of a task's configuration for an algorithm, which is also the argument of Isaac Lab's --agent.

    ``variant`` names one of several that a task has for PPO, such as ``with_symmetry``; empty for its usual one.
    """
    own = "" if algo == "ppo" else algo
    return "_".join(part for part in ("rsl_rl", own, variant, "cfg_entry_point") if part)


TRUDI_KEY = agent_key("trudi")
"""Key of a task's TruDi configuration."""
_SOURCES = {**dict.fromkeys(("trudi", "spo", "dppo", "fpo"), "ppo"), **dict.fromkeys(("reppo", "dime"), "trudi")}
"""Algorithms, and the one whose configuration theirs is made from."""


def _variants(keys: Iterable[str]) -> set[str]:
    """Return the variants of PPO's configuration among the keys of a task, and the usual one, which is empty.

    Names that begin with an algorithm's are that algorithm's own configurations.
    """
    found = {match[1] for key in keys if (match := re.fullmatch(r"rsl_rl_(\w+)_cfg_entry_point", key))}
    return {"", *(name for name in found if name.partition("_")[0] not in {*_SOURCES, "distillation"})}


def __getattr__(name: str) -> Callable[[], Any]:
    """Return the factory of a configuration, ``<Gymnasium id>@<algorithm>[@<variant>]``, which Isaac Lab resolves here.

    Raises:
        AttributeError: No task of that id has a configuration to make it from.
    """
    task, _, rest = name.partition("@")
    algo, _, variant = rest.partition("@")
    spec = gymnasium.registry.get(task)
    source = agent_key(_SOURCES[algo], variant) if algo in _SOURCES else None
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
        for variant in _variants(spec.kwargs):
            suffix = f"@{variant}" if variant else ""
            for algo, source in _SOURCES.items():
                if agent_key(source, variant) in spec.kwargs:
                    # Text instead of an object, because registrations are copied and written as JSON.
                    spec.kwargs.setdefault(agent_key(algo, variant), f"{__name__}:{task}@{algo}{suffix}")


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
