# SPDX-License-Identifier: BSD-3-Clause
"""Action bounds of environments written for RSL-RL."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trudi_rsl.environments.description import host_functions
from trudi_rsl.errors import ConfigError, setting

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

logger = logging.getLogger(__name__)


def action_bounds(env: VecEnv, configured: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    """Return lower and upper action bounds ``[A]``: the configured ones, else the environment's.

    The first of these that is present and finite counts:

    - ``action_low`` and ``action_high`` of the environment;
    - a Gymnasium Box ``single_action_space`` or ``action_space`` of the environment or the one it wraps; Isaac Lab's
      wrapper makes one of ``clip_actions``;
    - the terms of an action manager (Isaac Lab, mjlab): a joint-position term reaches the joints' limits, any other
      term has [-1, 1];
    - [-1, 1]: for a direct task of Isaac Lab, which scales its actions itself, and, with a warning, for any other
      environment.

    Raises:
        ConfigError: ``action_low`` and ``action_high`` are numbers, but not one per action, or not low below high.
    """
    if configured is not None:
        return torch.full((env.num_actions,), configured[0]), torch.full((env.num_actions,), configured[1])
    base: Any = getattr(env, "unwrapped", env)
    for low, high in _candidates(env, base):
        if torch.isfinite(low).all() and torch.isfinite(high).all():
            return low, high
    if not any(cls.__name__ == "DirectRLEnv" for cls in type(base).__mro__):
        logger.warning(
            "The environment has no finite action bounds, and a diffusion policy needs them: actions are taken to be "
            "in [-1, 1]. Define env.action_low and env.action_high [A], or set %s, if the task uses others.",
            setting("algorithm.action_bounds", "[-1.0, 1.0]"),
        )
    return -torch.ones(env.num_actions), torch.ones(env.num_actions)


def _candidates(env: VecEnv, base: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the bounds ``[A]`` of an environment and the one it wraps, finite or not."""
    for holder in (env, base):
        spaces = [getattr(holder, name, None) for name in ("single_action_space", "action_space")]
        own = getattr(holder, "action_low", None), getattr(holder, "action_high", None)
        for low, high in [own, *((getattr(space, "low", None), getattr(space, "high", None)) for space in spaces)]:
            low_end, high_end = _numbers(low), _numbers(high)
            if low_end is None or high_end is None:
                continue
            bounds = _vector(low_end, env.num_actions), _vector(high_end, env.num_actions)
            if bounds[0] is not None and bounds[1] is not None and bool((bounds[0] < bounds[1]).all()):
                yield bounds[0], bounds[1]
            elif low is own[0]:
                raise ConfigError(
                    f"action_low {list(low_end.shape)} and action_high {list(high_end.shape)} of the environment must "
                    f"have one number or one for each of the {env.num_actions} actions, and each low must be below its "
                    "high."
                )
    if hasattr(base, "action_manager"):
        yield _manager_bounds(base.action_manager)


def _numbers(end: Any) -> Tensor | None:
    """Return one end of bounds; None for what is absent or, in a project, means something else than numbers."""
    try:
        return torch.as_tensor(end, dtype=torch.float32).cpu()
    except (TypeError, ValueError, RuntimeError):
        return None


def _vector(end: Tensor, num_actions: int) -> Tensor | None:
    """Return one end of bounds as ``[A]``, None if it has another number of entries.

    One number stands for all entries (mjlab); a space of all environments has them in its last axis.
    """
    if end.numel() == 1:
        return end.reshape(1).expand(num_actions).clone()
    return end.reshape(-1, num_actions)[-1].clone() if end.shape[-1] == num_actions else None


def _manager_bounds(manager: Any) -> tuple[Tensor, Tensor]:
    """Return the bounds ``[A]`` of an action manager, concatenated over its terms."""
    host = host_functions(manager)
    lows, highs, without = [], [], []
    for name, dim in zip(manager.active_terms, manager.action_term_dim, strict=True):
        bounds = host.term_bounds(manager.get_term(name)) if host else None
        if bounds is None:
            without.append(name)
        low, high = bounds or (-torch.ones(dim), torch.ones(dim))
        lows.append(low.float().cpu())
        highs.append(high.float().cpu())
    if without:
        message = "Actions of %s are taken to be in [-1, 1]; %s sets other bounds."
        logger.info(message, ", ".join(without), setting("algorithm.action_bounds"))
    return torch.cat(lows), torch.cat(highs)
