# SPDX-License-Identifier: BSD-3-Clause
"""Which host simulates a task."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

import torch
from rsl_rl.env import VecEnv

from trudi_rsl.config import check_startable
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.policies import Host
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.task_names import counterpart

PREFIXES = {"Isaac-": "isaaclab", "IsaacContrib-": "isaaclab", "Mjlab-": "mjlab"}
"""How the names of a host's own tasks begin, to the host's package."""


def launcher(task: str) -> ModuleType | None:
    """Return the module whose ``train`` and ``play`` start a task's simulator by the simulator's own means.

    Args:
        task: Task name, or ``module:Name`` for one that importing ``module`` registers. A name that does not begin as a
            host's own tasks do belongs to a host if a project has registered it there.

    Returns:
        ``trudi_rsl.hosts.<host>.launch``, or None for tasks of Gymnasium, which :func:`make_env` makes.

    Raises:
        ConfigError: If ``module`` cannot be imported.
    """
    name = task.rpartition(":")[2]
    host = next((host for prefix, host in PREFIXES.items() if name.startswith(prefix)), None) or _registered_host(task)
    return None if host is None else importlib.import_module(f"trudi_rsl.hosts.{host}.launch")


def _registered_host(task: str) -> str | None:
    """Return the installed host that a task is registered with, None if there is none."""
    installed = [host for host in dict.fromkeys(PREFIXES.values()) if importlib.util.find_spec(host) is not None]
    if not installed:
        return None
    for host in installed:
        for entry_point in entry_points(group=f"{host}.tasks"):
            entry_point.load()
    module, _, name = task.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            # a task package of Isaac Lab 2.3 cannot be imported before its app has started
            if error.name == module or "isaaclab" not in installed:
                raise ConfigError(f"Cannot import {module!r} of task {task!r}: {error}.") from error
            return "isaaclab"
    if "mjlab" in installed and name in importlib.import_module("mjlab.tasks.registry").list_tasks():
        return "mjlab"
    if "isaaclab" in installed:
        import gymnasium

        tasks = {n for n, spec in gymnasium.registry.items() if "env_cfg_entry_point" in spec.kwargs}
        return "isaaclab" if counterpart(name, tasks) else None
    return None


def make_env(
    task: str, env_cfg: Mapping[str, Any], device: str = "cpu", seed: int = 0, render_mode: str | None = None
) -> VecEnv:
    """Make the environments of a task.

    Args:
        task: Gymnasium id.
        env_cfg: The ``env`` section of a configuration.
        device: Where the environments return their tensors.
        seed: Seed of the simulators.
        render_mode: Gymnasium's render mode; None does not render.

    Raises:
        ConfigError: Unknown task, or one of another host; unsupported spaces; a device that is not there.
        ImportError: A package that the task needs is missing; the message has the command that installs it.
    """
    if any(task.startswith(prefix) for prefix in PREFIXES):
        raise ConfigError(f"Task {task!r} has a simulator that starts itself; train it with scripts/train.py.")
    check_device(device)
    from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv

    bounds = env_cfg.get("action_bounds")
    if bounds is not None and len(bounds) != 2:
        raise ConfigError(f"env.action_bounds must be [low, high]; got {list(bounds)}.")
    return GymnasiumVecEnv(
        task,
        env_cfg["num_envs"],
        seed=seed,
        device=device,
        max_episode_steps=env_cfg.get("max_episode_steps"),
        env_kwargs=dict(env_cfg.get("env_kwargs") or {}),
        render_mode=render_mode,
        action_bounds=None if bounds is None else (bounds[0], bounds[1]),
    )


def continues_episodes(env: VecEnv, checkpoint: Mapping[str, Any]) -> bool:
    """Return whether loading ``checkpoint`` lets ``env`` continue the episodes that ran when it was saved.

    If so, nothing may touch their lengths; if not, they start anew.

    Args:
        env: The environments.
        checkpoint: What a ``model_*.pt`` holds.
    """
    from trudi_rsl.checkpoints.resume import env_state_of

    state = env_state_of(checkpoint)
    return state is not None and state["exact"] and state["num_envs"] == env.num_envs


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        ConfigError: Saying which there are.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        have = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise ConfigError(
            f"Cannot use device {device!r}; on this machine: {', '.join(have)}. Choose with --device."
        ) from error


def require_gymnasium(task: str, device: str) -> None:
    """Check that :func:`make_env` can make a task's environments on a device.

    Raises:
        ConfigError: If the task's simulator starts itself or cannot start, or there is no such device.
    """
    check_startable(task)
    if launcher(task) is not None:
        raise ConfigError(
            f"the simulator of {task} starts itself, once per process; only Gymnasium's tasks are evaluated side by "
            f"side. For one checkpoint: scripts/play.py --task {task} --checkpoint FILE --headless --episodes 32."
        )
    check_device(device)


GYMNASIUM = Host(make_env, OnPolicyRunner, require_gymnasium)
"""Contributes Gymnasium's environments to evaluations."""
