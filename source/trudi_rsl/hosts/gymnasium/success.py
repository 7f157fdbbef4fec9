# SPDX-License-Identifier: BSD-3-Clause
"""Reading from a task's ``info`` whether its episodes succeeded, and other numbers that judge them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

AT_THE_END = "is_success"
"""Success at an episode's last step, as Gymnasium-Robotics and Stable-Baselines3 define it."""
AT_ANY_STEP = "success"
"""Success at any step of an episode, as Meta-World and Adroit define it."""


class EpisodeSuccess:
    """Collects the success that E environments report.

    Args:
        task: Task name for messages.
        num_envs: E.

    Attributes:
        so_far: Largest report of the running episodes ``[E]`` float32, NaN without one.
    """

    def __init__(self, task: str, num_envs: int) -> None:
        self._task = task
        self.so_far = np.full(num_envs, np.nan, dtype=np.float32)
        self._unreadable: set[str] = set()

    def update(self, infos: Sequence[Mapping[str, Any]], ended: np.ndarray) -> np.ndarray | None:
        """Read one step of all environments, and return the success of the episodes that ended in it.

        It is that of :data:`AT_THE_END` if the last ``info`` has it, else the largest of :data:`AT_ANY_STEP`. A report
        counts if it is one number or flag in [0, 1]; anything else is ignored and logged once.

        Args:
            infos: Of each environment.
            ended: Where an episode ended, ``[E]`` bool.

        Returns:
            Float32 ``[E]``, NaN where no episode ended or nothing was reported; None if nothing was.
        """
        for env, info in enumerate(infos):
            if AT_ANY_STEP in info:
                self.so_far[env] = np.fmax(self.so_far[env], self._read(info, AT_ANY_STEP))
        if not ended.any():
            return None
        success = np.where(ended, self.so_far, np.float32(np.nan))
        for env in np.flatnonzero(ended).tolist():
            if AT_THE_END in infos[env]:
                success[env] = self._read(infos[env], AT_THE_END)
        self.so_far[ended] = np.nan
        return None if np.isnan(success).all() else success

    def forget(self) -> None:
        """Start new episodes everywhere."""
        self.so_far[:] = np.nan

    def _read(self, info: Mapping[str, Any], name: str) -> float:
        """Return a report as a number, NaN for one that cannot be read."""
        number = _as_number(info[name])
        if number is not None and (np.isnan(number) or 0.0 <= number <= 1.0):
            return number
        if name not in self._unreadable:
            self._unreadable.add(name)
            found = type(info[name]).__name__
            reason = f"info[{name!r}] is a {found} and not one number or flag in [0, 1]"
            _log_once(f"{self._task}: {reason}; it is not counted as success.")
        return np.nan


@functools.cache
def _log_once(sentence: str) -> None:
    """Log a sentence that also holds for further environments of the task, such as those of evaluations."""
    logger.warning(sentence)


def last_numbers(infos: Sequence[Mapping[str, Any]], ended: np.ndarray, name: str) -> np.ndarray | None:
    """Return a number that tasks report in the last ``info`` of an episode, float32 ``[E]``.

    NaN where no episode ended (``ended`` ``[E]`` is false) or what is reported is not one number; None if all are NaN.
    """
    numbers = np.full(len(infos), np.nan, dtype=np.float32)
    for env in np.flatnonzero(ended).tolist():
        number = _as_number(infos[env].get(name))
        numbers[env] = np.nan if number is None else number
    return None if np.isnan(numbers).all() else numbers


def _as_number(value: Any) -> float | None:
    """Return one number, or an array of one, as a float; None for anything else."""
    try:
        array = np.asarray(value)
        return float(array.item()) if array.size == 1 and array.dtype.kind in "biuf" else None
    except Exception:  # a task's own object; foreign arrays raise anything when they are read
        return None
