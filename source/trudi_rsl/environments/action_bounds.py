# SPDX-License-Identifier: BSD-3-Clause
"""The ways in which environments written for RSL-RL tell their action bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from rsl_rl.env import VecEnv
from torch import Tensor

from trudi_rsl.environments.description import host_module
from trudi_rsl.errors import ConfigError


def action_bounds(env: VecEnv, configured: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    """Return lower and upper action bounds ``[A]``: the configured ones, else those the environment tells.

    Environments tell them, in this order,

    - as ``action_low`` and ``action_high``;
    - as a finite Gymnasium Box ``single_action_space`` or ``action_space`` on the environment or what it wraps; Isaac
      Lab's wrapper makes one of ``clip_actions``;
    - by the terms of an action manager (Isaac Lab, mjlab): a joint-position term reaches the joints' limits, any other
      term takes actions in [-1, 1];
    - by being a direct task of Isaac Lab, which has no action manager: those take actions in [-1, 1] and scale them.

    Raises:
        ConfigError: If none are configured and the environment has none, or infinite ones.
    """
    if configured is not None:
        return torch.full((env.num_actions,), configured[0]), torch.full((env.num_actions,), configured[1])
    base: Any = getattr(env, "unwrapped", env)
    for low, high in _boxes(env, base):
        # one number stands for all entries (mjlab); a space of all environments has them in its last axis
        low_t, high_t = (
            torch.as_tensor(end, dtype=torch.float32).reshape(-1)[-env.num_actions :].cpu().expand(env.num_actions)
            for end in (low, high)
        )
        if torch.isfinite(low_t).all() and torch.isfinite(high_t).all():
            return low_t, high_t
    if hasattr(base, "action_manager"):
        low, high = _manager_bounds(base.action_manager)
        if torch.isfinite(low).all() and torch.isfinite(high).all():
            return low, high
    if any(cls.__name__ == "DirectRLEnv" for cls in type(base).__mro__):
        return -torch.ones(env.num_actions), torch.ones(env.num_actions)
    raise ConfigError(
        "The environment tells no finite action bounds, and a diffusion policy needs them. Set them, for example "
        "agent.algorithm.action_bounds=[-1.0,1.0]; tasks made for PPO often use actions of several units."
    )


def _boxes(*holders: Any) -> Iterator[tuple[Any, Any]]:
    for holder in holders:
        spaces = [getattr(holder, name, None) for name in ("single_action_space", "action_space")]
        pairs = [(getattr(holder, "action_low", None), getattr(holder, "action_high", None))]
        pairs += [(getattr(s, "low", None), getattr(s, "high", None)) for s in spaces]
        yield from ((low, high) for low, high in pairs if low is not None and high is not None)


def _manager_bounds(manager: Any) -> tuple[Tensor, Tensor]:
    """Return the bounds ``[A]`` of an action manager, term after term."""
    host = host_module(manager, "description")
    lows, highs, without = [], [], []
    for name, dim in zip(manager.active_terms, manager.action_term_dim, strict=True):
        bounds = host.term_bounds(manager.get_term(name)) if host else None
        if bounds is None:
            without.append(name)
        low, high = bounds or (-torch.ones(dim), torch.ones(dim))
        lows.append(low.float().cpu())
        highs.append(high.float().cpu())
    if without:
        print(
            f"[trudi_rsl] Actions of {', '.join(without)} are taken to be in [-1, 1]; agent.algorithm.action_bounds "
            "sets other bounds.",
            flush=True,
        )
    return torch.cat(lows), torch.cat(highs)
