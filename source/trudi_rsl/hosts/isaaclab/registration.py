# SPDX-License-Identifier: BSD-3-Clause
"""Gives every Isaac Lab task a TruDi configuration beside its PPO configuration, with no edit to the task.

Isaac Lab 3.0 loads this module through the entry-point group ``isaaclab.tasks``; under 2.3, ``import
trudi_rsl.hosts.isaaclab`` does. It is loaded by every ``isaaclab`` command, so it imports neither torch nor Isaac Lab.
"""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
from gymnasium.envs import registration

PPO_KEY = "rsl_rl_cfg_entry_point"
"""Where a task names its configuration for RSL-RL."""

TRUDI_KEY = "rsl_rl_trudi_cfg_entry_point"
"""Where it names that for TruDi; the argument of Isaac Lab's ``--agent``."""


def add_trudi() -> None:
    """Add the TruDi configuration to every registered task that has one for RSL-RL and none for TruDi."""
    for task, spec in registration.registry.items():
        if PPO_KEY in spec.kwargs:
            # Text, not an object: registrations are copied and written as JSON.
            spec.kwargs.setdefault(TRUDI_KEY, f"trudi_rsl.hosts.isaaclab.agents:{task}")


def register() -> None:
    """Add TruDi to all tasks, those registered later included; further calls do nothing.

    Tasks are registered whenever a project is imported, and not all through ``gymnasium.register``. But Isaac Lab
    asks ``gymnasium.spec`` for a task's configurations each time, so that is where to look again.
    """
    if getattr(gymnasium.spec, "adds_trudi", False):
        return
    original = registration.spec

    @functools.wraps(original)
    def spec_with_trudi(*args: Any, **kwargs: Any) -> registration.EnvSpec:
        add_trudi()
        return original(*args, **kwargs)

    vars(spec_with_trudi)["adds_trudi"] = True
    registration.spec = gymnasium.spec = spec_with_trudi
    add_trudi()


register()
