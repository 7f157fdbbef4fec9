# SPDX-License-Identifier: BSD-3-Clause
"""Counters, curricula, resets and last observations of Isaac Lab's and mjlab's environments.

Both count steps in ``common_step_counter``, which staged curricula depend on, and keep the difficulty of each
environment in ``scene.terrain``. Neither exposes the whole state of its simulator.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from trudi_rsl.errors import one_line

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

logger = logging.getLogger(__name__)

COUNTERS = ("common_step_counter", "_sim_step_counter")
"""Attributes of the environment that count its steps since it was made, over all episodes."""


def host_progress(env: VecEnv) -> dict[str, Any] | None:
    """Return the counters and, for a terrain with several levels, each environment's level and type ``[E]``.

    None for an environment without counters.
    """
    host: Any = getattr(env, "unwrapped", None)
    counters = {name: getattr(host, name) for name in COUNTERS if isinstance(getattr(host, name, None), int)}
    if not counters:
        return None
    if (terrain := _terrain(host)) is not None:
        levels, types = terrain.terrain_levels, terrain.terrain_types
        return {"counters": counters, "terrain_levels": levels.cpu().clone(), "terrain_types": types.cpu().clone()}
    return {"counters": counters}


def set_host_progress(env: VecEnv, progress: Mapping[str, Any]) -> dict[str, str]:
    """Restore the result of :func:`host_progress`.

    A reset of all environments moves them to their terrain, during which no curriculum moves. With another number of
    environments they keep the terrain they have. Returns names of what was restored to their values, as text.
    """
    host: Any = env.unwrapped  # pyright: ignore[reportAttributeAccessIssue]  RSL-RL does not promise it
    restored = {}
    levels, terrain = progress.get("terrain_levels"), _terrain(host)
    if levels is not None and terrain is not None:
        if levels.shape == terrain.terrain_levels.shape:
            _move_to_terrain(host, terrain, levels, progress["terrain_types"])
            restored["mean terrain level"] = f"{levels.float().mean():.2f}"
        else:
            restored["terrain levels"] = f"new, since the checkpoint is of {len(levels)} environments"
    for name, value in progress["counters"].items():
        if hasattr(host, name):
            setattr(host, name, value)
            if not name.startswith("_"):
                restored[name] = str(value)
    return restored


def _terrain(host: Any) -> Any:
    """Return the terrain if it has levels that a curriculum moves, else None."""
    terrain = getattr(getattr(host, "scene", None), "terrain", None)
    origins = getattr(terrain, "terrain_origins", None)
    return terrain if origins is not None and hasattr(terrain, "terrain_levels") else None


class _FrozenCurriculum:
    """A curriculum manager that logs as another one does but moves nothing."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def compute(self, env_ids: Any = None) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)


def _move_to_terrain(host: Any, terrain: Any, levels: Tensor, types: Tensor) -> None:
    terrain.terrain_levels.copy_(levels.clamp(max=len(terrain.terrain_origins) - 1))
    terrain.terrain_types.copy_(types.clamp(max=terrain.terrain_origins.shape[1] - 1))
    terrain.env_origins.copy_(terrain.terrain_origins[terrain.terrain_levels, terrain.terrain_types])
    if (curriculum := getattr(host, "curriculum_manager", None)) is not None:
        # a curriculum judges how far the robots came since their last reset, which nobody has observed
        host.curriculum_manager = _FrozenCurriculum(curriculum)
    try:
        host.reset()
    finally:
        if curriculum is not None:
            host.curriculum_manager = curriculum


def partial_reset(env: VecEnv | None) -> Callable[[Tensor], Any] | None:
    """Return the function that starts new episodes in the environments with indices ``[K]``, None if there is none.

    Manager-based environments of Isaac Lab and mjlab offer ``reset(env_ids=...)``; Isaac Lab's direct ones have
    ``_reset_idx``, which their ``step`` calls for episodes that end.
    """
    host: Any = getattr(env, "unwrapped", None)
    if callable(reset := getattr(host, "reset", None)) and "env_ids" in inspect.signature(reset).parameters:
        return lambda ids: reset(env_ids=ids)
    reset = getattr(host, "_reset_idx", None)
    return reset if callable(reset) else None


def close_envs(env: VecEnv) -> None:
    """Close environments if they can be closed; a failure is logged, since nothing that was trained depends on it."""
    if callable(close := getattr(env, "close", None)):
        try:
            close()
        except (Exception, SystemExit) as error:  # a project's own code
            logger.warning("Closing the environments failed: %s: %s", type(error).__name__, one_line(error))


def request_final_obs(env: VecEnv) -> None:
    """Enable the true last observations of episodes in an environment that has them switched off.

    Isaac Lab 3.0 reports them if ``cfg.compute_final_obs`` is set, which it reads in every step. It computes them
    without advancing observation histories, which would be those of the step before; environments with histories are
    left alone.
    """
    base = getattr(env, "unwrapped", env)
    cfg = getattr(base, "cfg", None)
    terms = getattr(getattr(base, "observation_manager", None), "_group_obs_term_cfgs", {})
    if any(getattr(term, "history_length", 0) for group in terms.values() for term in group):
        return
    if getattr(cfg, "compute_final_obs", None) is False:
        cfg.compute_final_obs = True  # pyright: ignore[reportOptionalMemberAccess]
