# SPDX-License-Identifier: BSD-3-Clause
"""Detecting NaN and infinity in the steps of Gymnasium environments, and restarting the environments that have them."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from trudi_rsl.errors import NonFiniteError
from trudi_rsl.hosts.gymnasium.vector import Step, TaskVector


class Faults:
    """Checks the actions and steps of E environments for NaN and infinity.

    Args:
        task: Task name for messages.
        num_envs: E.
        time: Maps the index of an environment to a description of its current time step, for messages.
    """

    def __init__(self, task: str, num_envs: int, time: Callable[[int], str]) -> None:
        self._task, self._time = task, time
        self._restarted = np.zeros(num_envs, dtype=bool)
        self._warned = False

    def filter_nonfinite(self, envs: TaskVector, step: Step, restart: bool) -> Step:
        """Return a step without NaN and infinity.

        With ``restart``, faulty environments are reset while the others go on.

        Raises:
            NonFiniteError: Some environment is faulty and ``restart`` is False, all environments are, or one is faulty
                again in the first step after its restart.
        """
        faulty = _find_faulty(step)
        if not faulty.any():
            self._restarted[:] = False
            return step
        if not restart or faulty.all() or (faulty & self._restarted).any():
            self.require_finite(_as_float32(step.rewards), "the simulator's reward")
            self.require_finite(step.final_obs, "the simulator's observation")
            self.require_finite(step.obs, "the simulator's observation")
        if not self._warned:
            self._warned = True
            first = int(np.flatnonzero(faulty)[0])
            warnings.warn(
                f"{self._task}: the simulator returned NaN or infinity in {int(faulty.sum())} of {len(faulty)} "
                f"environments, first in environment {first}, {self._time(first)}. Such environments are reset, now "
                "and from here on without further warnings.",
                stacklevel=3,
            )
        self._restarted[:] = faulty
        return _restart(envs, step, faulty)

    def require_finite(self, values: np.ndarray, what: str) -> None:
        """Raise a NonFiniteError that locates the first entry of ``values`` ``[E, ...]`` that is not finite."""
        finite = np.isfinite(values)
        if finite.all():
            return
        env, *entry = np.argwhere(~finite)[0].tolist()
        raise NonFiniteError(
            f"{self._task}: {what}{entry or ''} is {values[(env, *entry)]} in environment {env}, {self._time(env)}."
        )


def _as_float32(values: np.ndarray) -> np.ndarray:
    """Convert to the precision of training; larger numbers become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _find_faulty(step: Step) -> np.ndarray:
    """Return the environments whose step has a non-finite reward or (last) observation, bool ``[E]``."""
    finite = np.isfinite(_as_float32(step.rewards))
    return ~(finite & np.isfinite(step.obs).all(-1) & np.isfinite(step.final_obs).all(-1))


def _restart(envs: TaskVector, step: Step, faulty: np.ndarray) -> Step:
    """Reset the faulty environments and return the step with those truncated and their reward 0.

    Their last observation becomes NaN, so that training masks the transition.
    """
    running = np.flatnonzero(faulty & ~step.ended)
    if len(running):
        step.obs[running] = envs.start(envs=running.tolist())
    step.final_obs[faulty] = np.nan
    return step._replace(
        rewards=np.where(faulty, 0.0, step.rewards),
        terminated=step.terminated & ~faulty,
        truncated=step.truncated | faulty,
    )
