# SPDX-License-Identifier: BSD-3-Clause
"""The registry of hosts, and metadata of an environment for its checkpoints, so that an export needs no simulator.

Imports no torch: Isaac Lab loads the modules that register hosts in every one of its commands.
"""

from __future__ import annotations

import functools
import logging
import math
import numbers
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv
    from torch import Tensor

logger = logging.getLogger(__name__)

DISTRIBUTION = "trudi_rsl"
"""Name of this package's entry points in the groups ``<simulator>.tasks``."""


class HostFunctions(NamedTuple):
    """Functions that read the managers of one simulator's environments."""

    describe: Callable[[Any, Sequence[str]], dict[str, Any]]
    """Takes an unwrapped environment and the policy's observation groups; returns robot, actions, terms, commands."""
    term_bounds: Callable[[Any], tuple[Tensor, Tensor] | None]
    """Takes an action term; returns its raw lower and upper actions ``[A_term]``, None without natural limits."""


_hosts: dict[str, Callable[[], HostFunctions]] = {}


def register_host(package: str, load: Callable[[], HostFunctions]) -> None:
    """Register the functions of the simulator whose managers are in a top-level package, for example ``isaaclab``.

    ``load`` returns them; it is called when the first environment is built.
    """
    _hosts[package] = load


def host_functions(manager: Any) -> HostFunctions | None:
    """Return the functions for the simulator that a manager is from, None for an unknown one.

    A simulator that no import has registered yet is registered by this package's entry point in the group
    ``<simulator>.tasks``: a project that uses RSL-RL's stock runner imports no host itself.
    """
    # projects derive their own managers from the simulator's
    for package in dict.fromkeys(cls.__module__.partition(".")[0] for cls in type(manager).__mro__):
        if package not in _hosts:
            for entry in entry_points(group=f"{package}.tasks", name=DISTRIBUTION):
                entry.load()
        if package in _hosts:
            return _hosts[package]()
    return None


def task_name(env: VecEnv) -> str | None:
    """Return the name of the environment's task, None if it has none."""
    for holder in (env, getattr(env, "unwrapped", env)):
        name = getattr(holder, "task", None) or getattr(getattr(holder, "spec", None), "id", None)
        if isinstance(name, str):
            return name
    return None


def control_period(*holders: Any, name: str = "step_dt") -> float | None:
    """Return the first attribute of this name that is a positive number, in seconds; None if there is none.

    Projects use the name for anything else, too: text, functions, properties that fail.
    """
    for holder in holders:
        try:
            seconds = getattr(holder, name, None)
        except Exception:  # a property of a project
            continue
        if isinstance(seconds, numbers.Real) and not isinstance(seconds, bool) and 0.0 < float(seconds) < math.inf:
            return float(seconds)
    return None


def describe_environment(env: VecEnv, groups: Sequence[str]) -> dict[str, Any]:
    """Return the metadata of an environment that a robot's software needs, for exported policies.

    This is ``control_period_s`` in seconds for environments with a ``step_dt``, and ``obs_terms``, ``commands``,
    ``actions`` and ``robot`` for those of Isaac Lab and mjlab with managers, and for environments that describe
    themselves with a method ``describe(groups)``. What an environment does not provide is left out. So is what cannot
    be read, since training does not need it; it is logged, and ``unreadable`` maps names to reasons. ``groups`` are the
    observation groups that the policy reads.
    """
    base: Any = getattr(env, "unwrapped", env)
    metadata: dict[str, Any] = {}
    if (period := control_period(env, base)) is not None:
        metadata["control_period_s"] = period
    manager = getattr(base, "action_manager", None)
    host = None if manager is None else host_functions(manager)
    own = getattr(env, "describe", None) or getattr(base, "describe", None)
    describe = own if host is None else functools.partial(host.describe, base)
    if describe is not None:
        try:
            metadata |= describe(groups)
        except Exception as error:  # a project's own managers and terms may lack anything
            metadata["unreadable"] = {"environment": f"{type(error).__name__}: {error}"}
    if unreadable := metadata.get("unreadable"):
        parts = "; ".join(f"{name} ({reason})" for name, reason in unreadable.items())
        logger.warning("Exports will lack what could not be read: %s.", parts)
    return metadata
