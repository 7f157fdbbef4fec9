# SPDX-License-Identifier: BSD-3-Clause
"""Gives every Isaac Lab task configurations of TruDi and its relatives beside that of PPO, with no edit to the task.

Isaac Lab 3.0 loads this module through the entry-point group ``isaaclab.tasks``; under 2.3, ``import
trudi_rsl.hosts.isaaclab`` does. It is loaded by every ``isaaclab`` command, so it imports neither torch nor Isaac Lab.
"""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
from gymnasium.envs import registration

from trudi_rsl.environments.description import HostFunctions, register_host

PPO_KEY = "rsl_rl_cfg_entry_point"
"""Where a task names its configuration for RSL-RL."""

FROM_PPO = ("trudi", "spo", "dppo", "fpo")
"""Algorithms whose configuration is made from the task's for PPO."""

FROM_TRUDI = ("reppo", "dime")
"""Algorithms whose configuration is made from the task's for TruDi."""


def agent_key(algo: str) -> str:
    """Return where a task names its configuration for an algorithm; the argument of Isaac Lab's ``--agent``."""
    return PPO_KEY if algo == "ppo" else f"rsl_rl_{algo}_cfg_entry_point"


TRUDI_KEY = agent_key("trudi")
"""Where it names that for TruDi."""


def add_agents() -> None:
    """Add each algorithm's configuration to every registered task that has one to make it from and none of its own."""
    for task, spec in registration.registry.items():
        for given, algorithms in ((PPO_KEY, FROM_PPO), (TRUDI_KEY, FROM_TRUDI)):
            for algo in algorithms if given in spec.kwargs else ():
                # Text, not an object: registrations are copied and written as JSON.
                spec.kwargs.setdefault(agent_key(algo), f"trudi_rsl.hosts.isaaclab.agents:{task}@{algo}")


def register() -> None:
    """Add the configurations to all tasks, those registered later included; further calls do nothing.

    Tasks are registered whenever a project is imported, and not all through ``gymnasium.register``. But Isaac Lab
    asks ``gymnasium.spec`` for a task's configurations each time, so that is where to look again.
    """
    if getattr(gymnasium.spec, "adds_agents", False):
        return
    original = registration.spec

    @functools.wraps(original)
    def spec_with_agents(*args: Any, **kwargs: Any) -> registration.EnvSpec:
        add_agents()
        return original(*args, **kwargs)

    vars(spec_with_agents)["adds_agents"] = True
    registration.spec = gymnasium.spec = spec_with_agents
    add_agents()


def _host_functions() -> HostFunctions:
    from trudi_rsl.hosts.isaaclab.description import describe, term_bounds

    return HostFunctions(describe, term_bounds)


register_host("isaaclab", _host_functions)
register()
