# SPDX-License-Identifier: BSD-3-Clause
"""Metadata of an environment for a checkpoint, so that an export needs no simulator."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from rsl_rl.env import VecEnv

HOSTS = ("isaaclab", "mjlab")
"""Packages whose environments have managers."""


def host_module(manager: Any, name: str) -> Any:
    """Return ``trudi_rsl.hosts.<host>.<name>`` for a manager of a host's environment, None for another's.

    Args:
        manager: The manager; projects derive managers of their own.
        name: Name of the module.
    """
    packages = [cls.__module__.partition(".")[0] for cls in type(manager).__mro__]
    host = next((package for package in packages if package in HOSTS), None)
    return None if host is None else importlib.import_module(f"trudi_rsl.hosts.{host}.{name}")


def describe_environment(env: VecEnv, groups: Sequence[str]) -> dict[str, Any]:
    """Return what a robot's software has to know of an environment, as metadata of an exported policy.

    Environments with a ``step_dt`` tell ``control_period_s``; those of Isaac Lab and mjlab with managers also tell
    ``obs_terms``, ``commands``, ``actions`` and ``robot``. What an environment cannot tell is left out, and told once:
    training does not need it.

    Args:
        env: The environment.
        groups: Observation groups that the policy sees.
    """
    base: Any = getattr(env, "unwrapped", env)
    told: dict[str, Any] = {}
    period = getattr(env, "step_dt", None) or getattr(base, "step_dt", None)
    if period is not None:
        told["control_period_s"] = float(period)
    manager = getattr(base, "action_manager", None)
    host = None if manager is None else host_module(manager, "description")
    if host is not None:
        try:
            told |= host.describe(base, groups)
        # a project's own managers and terms may lack anything
        except Exception as error:
            print(
                "[trudi_rsl] Exports will not tell the robot's joints and observations, which could not be read: "
                f"{type(error).__name__}: {error}",
                flush=True,
            )
    return told
