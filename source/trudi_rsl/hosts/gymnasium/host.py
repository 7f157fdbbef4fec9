# SPDX-License-Identifier: BSD-3-Clause
"""The description of Gymnasium as a host: of every task that no other host claims."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from trudi_rsl import packages
from trudi_rsl.config.schema import GYMNASIUM, GymnasiumEnvCfg
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.host import EnvironmentHost

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv


def make_env(name: str, cfg: GymnasiumEnvCfg, device: str, seed: int, render_mode: str | None) -> VecEnv:
    """Make environments; arguments and errors are those of :class:`~trudi_rsl.hosts.gymnasium.env.GymnasiumVecEnv`."""
    from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv

    return GymnasiumVecEnv(name, cfg.num_envs, **vec_env_options(cfg, device, seed, render_mode))


def vec_env_options(cfg: GymnasiumEnvCfg, device: str, seed: int, render_mode: str | None) -> dict[str, Any]:
    """Return the keyword arguments of a ``GymnasiumVecEnv`` for an ``env`` section.

    Raises ConfigError if ``action_bounds`` are not two numbers.
    """
    bounds = cfg.action_bounds
    if bounds is not None and len(bounds) != 2:
        raise ConfigError(f"env.action_bounds must be [low, high]; got {bounds}.")
    return {
        "seed": seed,
        "device": device,
        "max_episode_steps": cfg.max_episode_steps,
        "env_kwargs": cfg.env_kwargs,
        "render_mode": render_mode,
        "action_bounds": None if bounds is None else (bounds[0], bounds[1]),
        "obs": cfg.obs,
        "images": cfg.images,
    }


def list_tasks() -> list[str]:
    """Return the newest version of each registered task, and this package's own."""
    from trudi_rsl.hosts.gymnasium.make import latest_ids

    return sorted(latest_ids())


def untrainable() -> dict[str, str]:
    """Return as :func:`~trudi_rsl.hosts.gymnasium.make.untrainable_tasks`."""
    from trudi_rsl.hosts.gymnasium.make import untrainable_tasks

    return untrainable_tasks()


def find_task(name: str, cfg: GymnasiumEnvCfg | None) -> None:
    """Raise as :func:`~trudi_rsl.hosts.gymnasium.make.require_registered`, and with ``cfg`` as ``require_usable``.

    A task of a module is not made, since importing that may take long.
    """
    from trudi_rsl.hosts.gymnasium.make import require_registered, require_usable

    require_registered(name)
    if cfg is not None and ":" not in name:
        options = vec_env_options(cfg, "cpu", 0, None)
        require_usable(name, **{key: options[key] for key in ("max_episode_steps", "env_kwargs", "action_bounds")})


HOST = EnvironmentHost(
    **{entry.name: getattr(GYMNASIUM, entry.name) for entry in fields(GYMNASIUM)},
    title="Gymnasium",
    package="gymnasium",
    install=f"Run: {packages.install_command()}",
    tasks=list_tasks,
    untrainable=untrainable,
    make_env=make_env,
    find_task=find_task,
)
