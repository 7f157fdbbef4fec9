# SPDX-License-Identifier: BSD-3-Clause
"""Detecting NaN and infinity in the steps of Gymnasium environments, and restarting the environments that have them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.vector import SyncVectorEnv

from trudi_rsl.errors import NonFiniteError

Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Observations ``[E, O]``, rewards, terminations and truncations ``[E]``."""


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

    def filter_nonfinite(self, envs: SyncVectorEnv, step: Step, infos: dict[str, Any], restart: bool) -> Step:
        """Return a step without NaN and infinity.

        With ``restart``, faulty environments are reset while the others go on; ``infos`` receives their last
        observations.

        Raises:
            NonFiniteError: Some environment is faulty and ``restart`` is False, all environments are, or one is faulty
                again in the first step after its restart.
        """
        faulty = _find_faulty(step, infos)
        if not faulty.any():
            self._restarted[:] = False
            return step
        if not restart or faulty.all() or (faulty & self._restarted).any():
            obs, rewards, terminated, truncated = step
            self.require_finite(_as_float32(rewards), "the simulator's reward")
            last = obs.copy()
            for env in np.flatnonzero(terminated | truncated):
                last[env] = infos["final_obs"][env]
            self.require_finite(_as_float32(last), "the simulator's observation")
            self.require_finite(_as_float32(obs), "the simulator's observation")
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
        return _restart(envs, step, infos, faulty)

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


def _find_faulty(step: Step, infos: Mapping[str, Any]) -> np.ndarray:
    """Return the environments whose step has a non-finite reward or (last) observation, bool ``[E]``."""
    obs, rewards, terminated, truncated = step
    faulty = ~(np.isfinite(_as_float32(rewards)) & np.isfinite(_as_float32(obs)).all(-1))
    ended = np.flatnonzero(terminated | truncated)
    if len(ended):
        faulty[ended] |= ~np.isfinite(_as_float32(np.stack(infos["final_obs"][ended]))).all(-1)
    return faulty


def _restart(envs: SyncVectorEnv, step: Step, infos: dict[str, Any], faulty: np.ndarray) -> Step:
    """Reset the faulty environments and return the step with those truncated and their reward 0.

    Their last observation becomes NaN, so that training masks the transition.
    """
    obs, rewards, terminated, truncated = step
    running = faulty & ~(terminated | truncated)
    if running.any():
        obs, _ = envs.reset(options={"reset_mask": running})
    final = infos.setdefault("final_obs", np.full(len(faulty), None, dtype=object))
    for env in np.flatnonzero(faulty):
        final[env] = np.full(obs.shape[1:], np.nan)
    return obs, np.where(faulty, 0.0, rewards), terminated & ~faulty, truncated | faulty
