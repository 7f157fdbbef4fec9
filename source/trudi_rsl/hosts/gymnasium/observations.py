# SPDX-License-Identifier: BSD-3-Clause
"""Observation spaces of Gymnasium tasks as one vector of named parts, or one for each of their groups, and images.

Gymnasium's ``FlattenObservation`` makes the vector: parts follow each other in the order of the space (a Dict made from
a plain mapping is sorted by key, one made from a sequence of pairs keeps its order), arrays in row-major order, and
discrete parts are one-hot. Images become groups of their own, ``[C, H, W]`` as RSL-RL's ``CNNModel`` takes them.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.spaces.utils import flatdim
from gymnasium.wrappers import FlattenObservation

from trudi_rsl.errors import ConfigError, nearest

logger = logging.getLogger(__name__)

ObservationMode = Literal["flatten", "groups"]
"""``flatten``: one group ``policy`` of all vectors. ``groups``: a group for each entry of the task's Dict or Tuple."""
ImageMode = Literal["auto", "original", "float32"]
"""``original``, ``auto``: images in the task's type, if torch computes with it. ``float32``: integers scaled to [0, 1],
which RSL-RL's own ``CNNModel`` needs."""
POLICY = "policy"
"""RSL-RL's name of the group that an actor reads by default."""

_IMAGE_SIDE = 16
"""Shortest side of a Box of floats with color channels that counts as an image."""
_CHANNELS = (1, 3, 4)
_NOT_IN_TORCH = (np.uint16, np.uint32, np.uint64)
"""Types with which torch computes too little to mask an image."""


@dataclass(frozen=True)
class Part:
    """A leaf of an observation space."""

    path: tuple[str, ...]
    """Keys and indices from the root; empty for a space without parts."""
    space: Space
    place: slice
    """Its entries in the flattened vector."""

    @property
    def name(self) -> str:
        """The path joined by slashes, ``policy`` for a space without parts."""
        return "/".join(self.path) or POLICY

    @property
    def size(self) -> int:
        """Numbers that it contributes to the vector."""
        return self.place.stop - self.place.start


class ObservationLayout:
    """Where the parts of an observation lie in the flattened vector ``[O]``.

    Args:
        space: The observation space of a task.
        task: Its name for messages.
        mode: How vectors form groups. Each image is a group of its own.
        images: The type of images.

    Attributes:
        size: O.

    Raises:
        ConfigError: The mode is unknown, or a part has no fixed number of entries.
    """

    def __init__(self, space: Space, task: str, mode: ObservationMode = "flatten", images: ImageMode = "auto") -> None:
        for name, value, modes in (("obs", mode, ObservationMode), ("images", images, ImageMode)):
            if value not in get_args(modes):
                raise ConfigError(f"env.{name} is {value!r}. {nearest(str(value), get_args(modes))}")
        self._scales_images = images == "float32"
        self._parts = list(_parts(space, (), task))
        self.size = sum(part.size for part in self._parts)
        if self.size == 0:
            raise ConfigError(f"Task {task!r} has observations in {space}, which have no entries.")
        self.is_vector = isinstance(space, Box) and len(space.shape) == 1
        self._vectors: dict[str, list[Part]] = {}
        for part in self._parts:
            if not is_image(part.space):
                self._vectors.setdefault(part.path[0] if mode == "groups" and part.path else POLICY, []).append(part)
        # networks cannot have a dot in their names
        names = {part.name.replace(".", "_"): part for part in self._parts if is_image(part.space)}
        self._images = {f"{name}/image" if name in self._vectors else name: part for name, part in names.items()}
        if not self.is_vector:
            announce(self._describe(task))

    @property
    def default_sets(self) -> dict[str, list[str]] | None:
        """Observation sets in which actor and critic read all groups; None if there is RSL-RL's default alone."""
        groups = [*self._vectors, *self._images]
        return None if groups == [POLICY] else {name: list(groups) for name in ("actor", "critic")}

    def wrap(self, env: gym.Env) -> gym.Env:
        """Return an environment with observations ``[O]``: itself if it has them already."""
        return env if self.is_vector else FlattenObservation(env)

    def split(self, obs: np.ndarray) -> dict[str, np.ndarray]:
        """Return the vectors ``[E, O_group]`` and images ``[E, C, H, W]`` of ``[E, O]`` by group."""
        groups = {name: np.concatenate([obs[:, x.place] for x in parts], -1) for name, parts in self._vectors.items()}
        for name, part in self._images.items():
            images = _channels_first(obs[:, part.place], part.space)
            if self._scales_images or images.dtype in _NOT_IN_TORCH:
                limits = np.iinfo(images.dtype) if np.issubdtype(images.dtype, np.integer) else None
                images = images.astype(np.float32) / (1 if limits is None else limits.max)
            groups[name] = images
        return groups

    def terms(self, groups: Sequence[str]) -> list[dict[str, Any]]:
        """Return name and size of each vector in the groups, in the order in which a policy reads them.

        Empty for a task whose observation is one vector: nothing is known of its entries.
        """
        if self.is_vector:
            return []
        parts = [part for group in groups for part in self._vectors.get(group, [])]
        return [{"name": part.name, "size": part.size} for part in parts]

    def _describe(self, task: str) -> str:
        vectors = [part for parts in self._vectors.values() for part in parts]
        said = []
        if vectors:
            groups = "" if tuple(self._vectors) == (POLICY,) else f", in the groups {', '.join(self._vectors)}"
            parts = ", ".join(f"{part.name} ({part.size})" for part in vectors)
            one_hot = [part.name for part in vectors if isinstance(part.space, Discrete | MultiDiscrete)]
            note = f"; one-hot: {', '.join(one_hot)}" if one_hot else ""
            size = sum(part.size for part in vectors)
            said.append(f"observations are flattened to {size} numbers{groups}, in this order: {parts}{note}")
        if self._images:
            shapes = {
                name: _channels_first(np.zeros((1, x.size)), x.space).shape[1:] for name, x in self._images.items()
            }
            said.append(f"images [C, H, W]: {', '.join(f'{name} {list(shape)}' for name, shape in shapes.items())}")
        return f"{task}: {'; '.join(said)}."


def _parts(space: Space, path: tuple[str, ...], task: str, start: int = 0) -> Iterator[Part]:
    if isinstance(space, Dict | Tuple):
        entries = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        for key, entry in entries:
            for part in _parts(entry, (*path, str(key)), task, start):
                yield part
                start = part.place.stop
        return
    if not isinstance(space, Box | Discrete | MultiBinary | MultiDiscrete):
        where = f"observation {'/'.join(path)!r}" if path else "observations"
        alternative = (
            "Choose a variant of the task with state observations, or register one with a wrapper that encodes them."
        )
        if path:
            alternative = (
                "Register a variant of the task wrapped in gymnasium.wrappers.FilterObservation that leaves it out."
            )
        raise ConfigError(
            f"Task {task!r} has {where} in {space}, which has no fixed number of entries. Policies read vectors and "
            f"images. {alternative}"
        )
    yield Part(path, space, slice(start, start + flatdim(space)))


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


def _channels_first(flat: np.ndarray, space: Space) -> np.ndarray:
    """Return flattened images ``[E, n]`` as ``[E, C, H, W]`` in the space's type; stacked frames are channels."""
    shape = cast(tuple[int, ...], space.shape)
    images = flat.reshape(len(flat), *shape)
    if len(shape) > 2 and shape[-1] in _CHANNELS:
        images = np.moveaxis(images, -1, -3)
    return images.reshape(len(flat), -1, *images.shape[-2:]).astype(space.dtype)


@functools.cache
def announce(message: str) -> None:
    """Log a message once per process: environments for evaluation have the same layout."""
    logger.info("%s", message)
