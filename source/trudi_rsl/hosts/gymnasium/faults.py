# SPDX-License-Identifier: BSD-3-Clause
"""Detecting NaN and infinity in the steps of Gymnasium environments, and restarting the environments that have them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from trudi_rsl.hosts.faults import RestartedFaults, require_finite
from trudi_rsl.hosts.gymnasium.vector import Step, TaskVector


class Faults:
    """Checks the actions and steps of E environments for NaN and infinity.

    Args:
        task: Task name for messages.
        time: Maps the index of an environment to a description of its current time step, for messages.
    """

    def __init__(self, task: str, time: Callable[[int], str]) -> None:
        self._task, self._time = task, time
        self._restarts = RestartedFaults(task, time, stacklevel=4)
        self._steps = 0

    def filter_nonfinite(self, envs: TaskVector, step: Step, restart: bool) -> Step:
        """Return a step without NaN and infinity.

        With ``restart``, faulty environments are reset while the others go on.

        Raises:
            NonFiniteError: Some environment is faulty and ``restart`` is False, all environments are, or one is faulty
                again in the first step after its restart.
        """
        self._steps += 1
        faulty = _find_faulty(step)
        if not faulty.any():
            return step
        quantities = [("the simulator's reward", torch.from_numpy(_as_float32(step.rewards)))]
        quantities += [("the simulator's observation", torch.from_numpy(obs)) for obs in (step.final_obs, step.obs)]
        self._restarts.check(torch.from_numpy(faulty), quantities, self._steps, restart)
        return _restart(envs, step, faulty)

    def require_finite(self, values: np.ndarray, what: str) -> None:
        """Raise a NonFiniteError that locates the first entry of ``values`` ``[E, ...]`` that is not finite."""
        if not np.isfinite(values).all():
            require_finite(torch.from_numpy(values), what, self._task, self._time)


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
