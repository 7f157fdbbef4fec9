# SPDX-License-Identifier: BSD-3-Clause
"""Environments of Isaac Lab's tasks in the process of the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym


@contextlib.contextmanager
def make(task: str, num_envs: int, change: Callable[[Any], None] | None = None) -> Iterator[Any]:
    """Yield environments of a task with Newton on the CPU, whose configuration ``change`` may modify in place."""
    # Isaac Lab reads at its import where the assets are, which the session's fixture sets
    import isaaclab_tasks  # noqa: F401  registers the tasks  # pyright: ignore[reportMissingImports]
    from isaaclab.app import launch_simulation  # pyright: ignore[reportMissingImports]
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper  # pyright: ignore[reportMissingImports]
    from isaaclab_tasks.utils.hydra import resolve_task_config  # pyright: ignore[reportMissingImports]

    cfg, _ = resolve_task_config(task, None, overrides=["physics=newton_mjwarp"])
    cfg.scene.num_envs, cfg.sim.device, cfg.seed = num_envs, "cpu", 0
    if change is not None:
        change(cfg)
    with launch_simulation(cfg), contextlib.closing(RslRlVecEnvWrapper(gym.make(task, cfg=cfg))) as env:
        yield env
