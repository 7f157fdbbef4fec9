# SPDX-License-Identifier: BSD-3-Clause
"""Behaviour modes of a task: the registry that tasks add theirs to, without any simulator."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trudi_rsl.errors import ConfigError
from trudi_rsl.task_names import family

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BehaviourModes:
    """The behaviours that solve a task equally well.

    The functions take the observations of one run of L steps, ``[L + 1, O]``: the first, and the one after each step.
    """

    names: tuple[str, ...]
    """The modes."""
    classify: Callable[[Array], int | None]
    """Index of the run's mode among ``names``, None for a failed run."""
    fixed_start: Mapping[str, Any]
    """Options of the task's constructor that start every episode in the same state."""
    path: Callable[[Array], Array]
    """Positions of the run in the plane, ``[L + 1, 2]``."""
    coordinate: Callable[[Array], Array]
    """The coordinate in which the modes differ, ``[L + 1]``."""
    coordinate_name: str
    """Its name and unit."""
    outlines: Mapping[str, Array] = field(default_factory=dict)
    """Other objects in the plane: name to corners of a polygon ``[P, 2]``."""


_REGISTRY: dict[str, BehaviourModes] = {}


def register_modes(task: str, modes: BehaviourModes) -> None:
    """Register the modes of a task, which all its versions share, next to registering the task with Gymnasium."""
    _REGISTRY[_key(task)] = modes


def find_modes(task: str) -> BehaviourModes:
    """Return the modes of a task, ``Name`` or ``module:Name`` if importing ``module`` registers it.

    Raises:
        ConfigError: If none are registered, listing the tasks that have some, or ``module`` cannot be imported.
    """
    module = task.rpartition(":")[0]
    if module:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigError(f"Cannot import {module!r} of task {task!r}: {error}.") from error
    if _key(task) not in _REGISTRY:
        raise ConfigError(
            f"No behaviour modes are registered for task {task!r}, only for {', '.join(sorted(_REGISTRY))}. A project "
            "registers those of its own task with trudi_rsl.tasks.register_modes."
        )
    return _REGISTRY[_key(task)]


def circle(centre: tuple[float, float], radius: float, corners: int = 64) -> Array:
    """Return the corners of a polygon that looks like a circle, ``[corners, 2]``."""
    angle = np.linspace(0.0, 2.0 * np.pi, corners, endpoint=False)
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _key(task: str) -> str:
    return family(task.rpartition(":")[2])
