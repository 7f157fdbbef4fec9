# SPDX-License-Identifier: BSD-3-Clause
"""Which host simulates a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from rsl_rl.env import VecEnv

from trudi_rsl.errors import ConfigError

OTHER_HOSTS = {"Isaac-": "Isaac Lab", "Mjlab-": "mjlab"}
"""Prefixes of tasks of simulators that this version cannot start itself."""


def make_env(
    task: str, env_cfg: Mapping[str, Any], device: str = "cpu", seed: int = 0, render_mode: str | None = None
) -> VecEnv:
    """Make the environments of a task.

    Args:
        task: Task name. Any but those of :data:`OTHER_HOSTS` is a Gymnasium id.
        env_cfg: The ``env`` section of a configuration.
        device: Where the environments return their tensors.
        seed: Seed of the simulators.
        render_mode: Gymnasium's render mode; None does not render.

    Raises:
        ConfigError: Unknown task, or one of another host; unsupported spaces; a device that is not there.
        ImportError: A package that the task needs is missing; the message has the command that installs it.
    """
    for prefix, host in OTHER_HOSTS.items():
        if task.startswith(prefix):
            raise ConfigError(
                f"Task {task!r} belongs to {host}, which this version of trudi_rsl cannot start by itself. Train it "
                f"with {host}'s own RSL-RL script, giving its agent configuration algorithm.class_name = "
                "'trudi_rsl.algorithms:TruDi' and algorithm.action_bounds."
            )
    check_device(device)
    from trudi_rsl.hosts.gymnasium_env import GymnasiumVecEnv

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
    state = checkpoint.get("env_state")
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
