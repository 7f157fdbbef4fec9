# SPDX-License-Identifier: BSD-3-Clause
"""How episodes ended, and their last observations, of environments written for RSL-RL.

An environment for RSL-RL reports ``dones`` and, for those that a time limit ended, ``extras["time_outs"]``. RSL-RL does
not define what a fall in the very step of the time limit is; Isaac Lab and mjlab set both. Such an episode terminated,
so its value must not be bootstrapped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv
    from tensordict import TensorDict

logger = logging.getLogger(__name__)

ATTRIBUTES = ("reset_terminated", "torch_reset_terminated")
"""Attributes ``[E]`` of Isaac Lab's and mjlab's environments that hold the terminations of the last step: those of the
termination manager, or of a direct task. In Isaac Lab's Warp environments the first is no tensor and the second is."""

_warned: set[str] = set()
"""Reasons for which last observations were ignored, each logged once."""


class EpisodeEnds(NamedTuple):
    """Exclusive masks of the episodes that ended in a step, bool ``[E]``."""

    terminated: Tensor
    """The task ended them: their value is zero from here on."""
    truncated: Tensor
    """Only a time limit ended them: their value is bootstrapped."""


def episode_ends(env: VecEnv | None, dones: Tensor, extras: Mapping[str, Any]) -> EpisodeEnds:
    """Return which of the episodes that ended in the last step of ``env`` terminated, and which were truncated.

    Terminations are read from the first of these that is present:

    1. ``extras["terminated"]``, nonzero where an episode terminated, ``[E]``;
    2. no ``extras["time_outs"]``: all ended episodes terminated, as in tasks with a finite horizon;
    3. ``reset_terminated`` of the environment or of the one that it wraps, ``[E]`` (Isaac Lab, mjlab);
    4. ``dones`` minus ``extras["time_outs"]``.

    Whatever has these names but is not a tensor with one entry per environment is ignored.

    Args:
        env: The environment; None if unknown.
        dones: Nonzero where an episode ended, ``[E]``.
        extras: Of the step.
    """
    done = dones.reshape(-1) > 0
    time_outs, terminated = extras.get("time_outs"), _mask(extras.get("terminated"), done)
    if terminated is None:
        if time_outs is None:
            return EpisodeEnds(done, torch.zeros_like(done))
        known = _terminated_of(env, done)
        terminated = time_outs.to(done.device).reshape(-1) <= 0
        terminated = terminated if known is None else terminated | known
    terminated = done & terminated
    # for masks, "greater" is "and not", in one kernel
    return EpisodeEnds(terminated, done > terminated)


def _terminated_of(env: VecEnv | None, done: Tensor) -> Tensor | None:
    """Return the terminations of the last step that an environment has as an attribute, bool ``[E]``."""
    for holder in (env, getattr(env, "unwrapped", None)):
        for name in ATTRIBUTES:
            if (mask := _mask(getattr(holder, name, None), done)) is not None:
                return mask
    return None


def _mask(values: Any, done: Tensor) -> Tensor | None:
    """Return a tensor with an entry for each of ``done``, as bool ``[E]`` on its device, None for anything else."""
    if not isinstance(values, Tensor) or values.numel() != done.numel():
        return None
    return values.to(done.device).reshape(-1) > 0


def last_observations(
    extras: Mapping[str, Any], next_obs: TensorDict, groups: Iterable[str]
) -> TensorDict | dict[str, Tensor] | None:
    """Return the groups ``[E, ...]`` of ``extras["final_obs"]``, which are the true last ones where an episode ended.

    None if they are missing, or cannot be those: a group in use is absent or of another shape, or is the very memory of
    the group in ``next_obs``, so that the reset has overwritten it with the observation of the next episode. The reason
    is logged once; episodes that a time limit ended are then not learned from in their last step.
    """
    if (final := extras.get("final_obs")) is None:
        return None
    if (why := _why_unusable(final, next_obs, groups)) is None:
        return final
    if why not in _warned:
        _warned.add(why)
        logger.warning("Last observations of episodes, extras['final_obs'], are ignored: %s.", why)
    return None


def _why_unusable(final: Any, next_obs: TensorDict, groups: Iterable[str]) -> str | None:
    if not hasattr(final, "keys"):
        return f"they are a {type(final).__name__} and no observation groups"
    for group in groups:
        values, following = dict(final.items()).get(group), next_obs[group]
        if not isinstance(values, Tensor):
            return f"they lack the group {group!r}"
        if values.shape != following.shape:
            return f"their group {group!r} is {tuple(values.shape)} instead of {tuple(following.shape)}"
        if values.data_ptr() == following.data_ptr():
            return f"the environment overwrites their group {group!r} when it resets"
    return None
