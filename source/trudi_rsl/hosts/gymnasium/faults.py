# SPDX-License-Identifier: BSD-3-Clause
"""Gymnasium environments whose simulator gave NaN or infinity, and starting them anew while the others go on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trudi_rsl.errors import NonFiniteError

if TYPE_CHECKING:
    from gymnasium.vector import SyncVectorEnv


Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Observations ``[E, O]``, rewards, terminations and truncations ``[E]``."""


class Faults:
    """Finds NaN and infinity in what goes to the simulators of E environments and comes from them.

    Args:
        task: Its name, for messages.
        num_envs: E.
        when: Environment to a text that says where in time it is.
    """

    def __init__(self, task: str, num_envs: int, when: Callable[[int], str]) -> None:
        self._task, self._when = task, when
        self._restarted = np.zeros(num_envs, dtype=bool)
        self._told = False

    def removed(self, envs: SyncVectorEnv, step: Step, infos: dict[str, Any], restarts: bool) -> Step:
        """Return a step free of NaN and infinity.

        Args:
            envs: What was stepped.
            step: What it gave.
            infos: What it gave beside; gets the last observations of environments that begin anew.
            restarts: Whether faulty environments begin new episodes while others go on; else they are an error.

        Raises:
            NonFiniteError: If there are some and ``restarts`` is False, all environments have some, or one has them
                again at the first step after its restart.
        """
        faulty = faulty_envs(step, infos)
        if not faulty.any():
            self._restarted[:] = False
            return step
        if not restarts or faulty.all() or (faulty & self._restarted).any():
            obs, rewards, terminated, truncated = step
            self.require_finite(as_float32(rewards), "the simulator's reward")
            last = obs.copy()
            for env in np.flatnonzero(terminated | truncated):
                last[env] = infos["final_obs"][env]
            self.require_finite(as_float32(last), "the simulator's observation")
            self.require_finite(as_float32(obs), "the simulator's observation")
        if not self._told:
            self._told = True
            first = int(np.flatnonzero(faulty)[0])
            warnings.warn(
                f"{self._task}: the simulator gave NaN or infinity in {int(faulty.sum())} of {len(faulty)} "
                f"environments, as in environment {first}, {self._when(first)}. They begin new episodes, here and from "
                "now on.",
                stacklevel=3,
            )
        self._restarted[:] = faulty
        return restarted(envs, step, infos, faulty)

    def require_finite(self, values: np.ndarray, what: str) -> None:
        """Refuse numbers ``[E, ...]`` of which one is not finite.

        Raises:
            NonFiniteError: Naming the first, its environment and when it was.
        """
        finite = np.isfinite(values)
        if finite.all():
            return
        env, *entry = np.argwhere(~finite)[0].tolist()
        raise NonFiniteError(
            f"{self._task}: {what}{entry or ''} is {values[(env, *entry)]} in environment {env}, {self._when(env)}."
        )


def as_float32(values: np.ndarray) -> np.ndarray:
    """Return numbers as training gets them: those beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def faulty_envs(step: Step, infos: Mapping[str, Any]) -> np.ndarray:
    """Return which environments gave a non-finite number in a step, bool ``[E]``; their last observation counts too."""
    obs, rewards, terminated, truncated = step
    faulty = ~(np.isfinite(as_float32(rewards)) & np.isfinite(as_float32(obs)).all(-1))
    ended = np.flatnonzero(terminated | truncated)
    if len(ended):
        faulty[ended] |= ~np.isfinite(as_float32(np.stack(infos["final_obs"][ended]))).all(-1)
    return faulty


def restarted(envs: SyncVectorEnv, step: Step, infos: dict[str, Any], faulty: np.ndarray) -> Step:
    """Return a step in which faulty environments were truncated without reward and have begun a new episode.

    Their last observation becomes NaN, so that nothing is learned from it.
    """
    obs, rewards, terminated, truncated = step
    running = faulty & ~(terminated | truncated)
    if running.any():
        obs, _ = envs.reset(options={"reset_mask": running})
    final = infos.setdefault("final_obs", np.full(len(faulty), None, dtype=object))
    for env in np.flatnonzero(faulty):
        final[env] = np.full(obs.shape[1:], np.nan)
    return obs, np.where(faulty, 0.0, rewards), terminated & ~faulty, truncated | faulty


NAMES = ("is_success", "success")
"""What tasks call it in their ``info``: Gymnasium-Robotics and Stable-Baselines3, Meta-World and others."""


def episode_success(infos: Mapping[str, Any], num_envs: int) -> np.ndarray | None:
    """Return what the last step of each episode that ended said of its success.

    Args:
        infos: Of a vector environment that resets in the same step.
        num_envs: E.

    Returns:
        ``[E]`` float32, 0 or 1, NaN where no episode ended; None if no episode that ended tells.
    """
    final = infos.get("final_info", {})
    name = next((name for name in NAMES if name in final), None)
    if name is None:
        return None
    told = final[f"_{name}"]
    success = np.full(num_envs, np.nan, dtype=np.float32)
    success[told] = np.asarray(final[name])[told].astype(np.float32)
    return success
