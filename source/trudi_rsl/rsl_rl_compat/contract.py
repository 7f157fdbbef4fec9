# SPDX-License-Identifier: BSD-3-Clause
"""What differs between RSL-RL versions and between the environments written for it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
from packaging.version import Version
from rsl_rl.env import VecEnv
from rsl_rl.utils import resolve_obs_groups
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.errors import ConfigError

SUPPORTED = (Version("5.0.1"), Version("6"))


def check_version() -> None:
    """Refuse versions of RSL-RL whose contract with algorithms is another.

    Raises:
        ImportError: Naming the installed version and the supported range.
    """
    installed = Version(version("rsl-rl-lib"))
    low, high = SUPPORTED
    if not low <= installed < high:
        raise ImportError(
            f"trudi_rsl works with rsl-rl-lib >={low},<{high}; installed is {installed}. "
            f'Run: pip install "rsl-rl-lib>={low},<{high}"'
        )


def resolve_groups(obs: TensorDict, cfg: dict[str, Any]) -> dict[str, list[str]]:
    """Return the groups of the ``actor`` and ``critic`` observation sets, checked and completed by RSL-RL.

    Raises:
        ConfigError: If a group holds anything but vectors.
    """
    cfg["obs_groups"] = resolve_obs_groups(obs, cfg.get("obs_groups") or {}, ["actor", "critic"])
    for name in {*cfg["obs_groups"]["actor"], *cfg["obs_groups"]["critic"]}:
        if obs[name].ndim != 2:
            raise ConfigError(
                f"Observation group {name!r} has shape {tuple(obs[name].shape[1:])}; TruDi takes vectors. Choose other "
                "groups in obs_groups."
            )
    return cfg["obs_groups"]


def action_bounds(env: VecEnv, configured: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    """Return lower and upper action bounds ``[A]``: the configured ones, else those the environment tells.

    Environments tell them as ``action_low`` and ``action_high`` or as a Gymnasium Box ``single_action_space`` or
    ``action_space`` on the environment or what it wraps.

    Raises:
        ConfigError: If none are configured and the environment has none, or infinite ones.
    """
    if configured is not None:
        return torch.full((env.num_actions,), configured[0]), torch.full((env.num_actions,), configured[1])
    for holder in (env, getattr(env, "unwrapped", env)):
        spaces = [getattr(holder, name, None) for name in ("single_action_space", "action_space")]
        pairs = [(getattr(holder, "action_low", None), getattr(holder, "action_high", None))]
        pairs += [(getattr(s, "low", None), getattr(s, "high", None)) for s in spaces]
        for low, high in pairs:
            if low is None or high is None:
                continue
            low_t = torch.as_tensor(low, dtype=torch.float32).reshape(-1)[-env.num_actions :].cpu()
            high_t = torch.as_tensor(high, dtype=torch.float32).reshape(-1)[-env.num_actions :].cpu()
            if torch.isfinite(low_t).all() and torch.isfinite(high_t).all():
                return low_t, high_t
    raise ConfigError(
        "The environment tells no finite action bounds, and a diffusion policy needs them. Set them, for example "
        "agent.algorithm.action_bounds=[-1.0,1.0]; tasks made for PPO often use actions of several units."
    )


def task_name(env: VecEnv) -> str | None:
    """Return the name of the environment's task, None if it tells none."""
    for holder in (env, getattr(env, "unwrapped", env)):
        name = getattr(holder, "task", None) or getattr(getattr(holder, "spec", None), "id", None)
        if isinstance(name, str):
            return name
    return None
