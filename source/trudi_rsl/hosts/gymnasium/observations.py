# SPDX-License-Identifier: BSD-3-Clause
"""Observation spaces of Gymnasium tasks as one vector of named parts, or as one vector for each of their groups.

Gymnasium's ``FlattenObservation`` makes the vector: parts follow each other in the order of the space (a Dict made from
a plain mapping is sorted by key, one made from a sequence of pairs keeps its order), arrays in row-major order, and
discrete parts are one-hot.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.spaces.utils import flatdim
from gymnasium.wrappers import FlattenObservation

from trudi_rsl.errors import ConfigError, nearest

logger = logging.getLogger(__name__)

ObservationMode = Literal["flatten", "groups"]
"""``flatten``: one group ``policy`` with all parts. ``groups``: a group for each entry of the task's Dict or Tuple."""
POLICY = "policy"
"""RSL-RL's name of the group that an actor reads by default."""

_IMAGE_SIDE = 16
"""Shortest side of a Box of floats with color channels that counts as an image."""
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Part:
    """A leaf of an observation space."""

    path: tuple[str, ...]
    """Keys and indices from the root; empty for a space without parts."""
    space: Space
    size: int
    """Numbers that it contributes to the vector."""

    @property
    def name(self) -> str:
        """The path joined by slashes, ``policy`` for a space without parts."""
        return "/".join(self.path) or POLICY


class ObservationLayout:
    """Where the parts of an observation lie in the flattened vector ``[O]``.

    Args:
        space: The observation space of a task.
        task: Its name for messages.
        mode: How parts form groups.

    Attributes:
        size: O.
        groups: First and last + 1 entry of each group in the vector, in order.

    Raises:
        ConfigError: The mode is unknown, or a part is an image or has no fixed number of entries.
    """

    def __init__(self, space: Space, task: str, mode: ObservationMode = "flatten") -> None:
        if mode not in get_args(ObservationMode):
            raise ConfigError(f"env.obs is {mode!r}. {nearest(str(mode), get_args(ObservationMode))}")
        self._parts = list(_parts(space, (), task))
        self.size = sum(part.size for part in self._parts)
        if self.size == 0:
            raise ConfigError(f"Task {task!r} has observations in {space}, which have no entries.")
        self.is_vector = isinstance(space, Box) and len(space.shape) == 1
        self._group_of = [part.path[0] if mode == "groups" and part.path else POLICY for part in self._parts]
        self.groups: dict[str, tuple[int, int]] = {}
        stop = 0
        for name, part in zip(self._group_of, self._parts, strict=True):
            start, stop = stop, stop + part.size
            self.groups[name] = (self.groups.get(name, (start,))[0], stop)
        if not self.is_vector:
            announce(self._describe(task))

    @property
    def default_sets(self) -> dict[str, list[str]] | None:
        """Observation sets in which actor and critic read all groups; None if there is RSL-RL's default ``policy``."""
        return None if POLICY in self.groups else {name: list(self.groups) for name in ("actor", "critic")}

    def wrap(self, env: gym.Env) -> gym.Env:
        """Return an environment with observations ``[O]``: itself if it has them already."""
        return env if self.is_vector else FlattenObservation(env)

    def split(self, obs: np.ndarray) -> dict[str, np.ndarray]:
        """Return views ``[E, O_group]`` of observations ``[E, O]`` by group."""
        return {name: obs[:, start:stop] for name, (start, stop) in self.groups.items()}

    def terms(self, groups: Sequence[str]) -> list[dict[str, Any]]:
        """Return name and size of each part of the groups, in the order in which a policy reads them.

        Empty for a task whose observation is one vector: nothing is known of its entries.
        """
        if self.is_vector:
            return []
        parts = list(zip(self._group_of, self._parts, strict=True))
        return [{"name": part.name, "size": part.size} for group in groups for own, part in parts if own == group]

    def _describe(self, task: str) -> str:
        one_hot = [part.name for part in self._parts if isinstance(part.space, Discrete | MultiDiscrete)]
        parts = ", ".join(f"{part.name} ({part.size})" for part in self._parts)
        groups = "" if tuple(self.groups) == (POLICY,) else f", in the groups {', '.join(self.groups)}"
        note = f"; one-hot: {', '.join(one_hot)}" if one_hot else ""
        return f"{task}: observations are flattened to {self.size} numbers{groups}, in this order: {parts}{note}."


def _parts(space: Space, path: tuple[str, ...], task: str) -> Iterator[Part]:
    if isinstance(space, Dict | Tuple):
        entries = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        for key, entry in entries:
            yield from _parts(entry, (*path, str(key)), task)
        return
    where = f"observation {'/'.join(path)!r}" if path else "observations"
    if not isinstance(space, Box | Discrete | MultiBinary | MultiDiscrete):
        raise ConfigError(
            f"Task {task!r} has {where} in {space}, which has no fixed number of entries. Policies read vectors. "
            f"{_alternative(path)}"
        )
    if is_image(space):
        raise ConfigError(
            f"Task {task!r} has {where} in {space}, an image. Policies here are multilayer perceptrons without "
            f"convolutions and read vectors. {_alternative(path)}"
        )
    yield Part(path, space, flatdim(space))


def is_image(space: Space) -> bool:
    """Return whether a space holds images: bytes in two or more axes, or three axes with color channels at an end."""
    if not isinstance(space, Box) or len(space.shape) < 2:
        return False
    if space.dtype == np.uint8:
        return True
    shape = space.shape
    sides = shape[:-1] if shape[-1] in _CHANNELS else shape[1:]
    has_channels = len(shape) == 3 and (shape[-1] in _CHANNELS or shape[0] in _CHANNELS)
    return has_channels and min(sides) >= _IMAGE_SIDE


def _alternative(path: tuple[str, ...]) -> str:
    if path:
        return "Register a variant of the task wrapped in gymnasium.wrappers.FilterObservation that leaves it out."
    return "Choose a variant of the task with state observations, or register one with a wrapper that encodes them."


@functools.cache
def announce(message: str) -> None:
    """Log a message once per process: environments for evaluation have the same layout."""
    logger.info("%s", message)
