# SPDX-License-Identifier: BSD-3-Clause
"""Gymnasium environments whose simulator gave NaN or infinity, and starting them anew while the others go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gymnasium.vector import SyncVectorEnv

Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Observations ``[E, O]``, rewards, terminations and truncations ``[E]``."""


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
