# SPDX-License-Identifier: BSD-3-Clause
"""The behaviours that solve a task, and how runs are classified into them."""

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

    Its functions take the observations of one run of L steps, ``[L + 1, O]``, the initial one first.
    """

    names: tuple[str, ...]
    """Names of the modes."""
    classify: Callable[[Array], int | None]
    """Returns the index of the run's mode in ``names``, None if the run failed."""
    fixed_start: Mapping[str, Any]
    """Options of the task's constructor with which every episode starts in the same state."""
    path: Callable[[Array], Array]
    """Returns the run's positions in the plane, ``[L + 1, 2]``."""
    coordinate: Callable[[Array], Array]
    """Returns a number that differs between the modes, ``[L + 1]``."""
    coordinate_name: str
    """Name and unit of ``coordinate``."""
    outlines: Mapping[str, Array] = field(default_factory=dict)
    """Objects in the plane for plots: names to corners ``[P, 2]`` of a polygon."""


_REGISTRY: dict[str, BehaviourModes] = {}


def register_modes(task: str, modes: BehaviourModes) -> None:
    """Register the modes of a task; its other versions share them."""
    _REGISTRY[_key(task)] = modes


def modes_of(task: str) -> BehaviourModes:
    """Return the modes of a task.

    Args:
        task: Task name, or ``module:Name`` for one that importing ``module`` registers.

    Raises:
        ConfigError: The task has none (the message lists the tasks that have), or ``module`` cannot be imported.
    """
    module = task.rpartition(":")[0]
    if module:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigError(f"Cannot import {module!r} of task {task!r}: {error}.") from error
    modes = _REGISTRY.get(_key(task))
    if modes is None:
        raise ConfigError(
            f"No behaviour modes are registered for task {task!r}, only for {', '.join(sorted(_REGISTRY))}. Register "
            "those of your own task with trudi_rsl.tasks.register_modes."
        )
    return modes


def circle(centre: tuple[float, float], radius: float, corners: int = 64) -> Array:
    """Return a polygon ``[corners, 2]`` that approximates a circle."""
    angle = np.linspace(0.0, 2.0 * np.pi, corners, endpoint=False)
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _key(task: str) -> str:
    return family(task.rpartition(":")[2])
