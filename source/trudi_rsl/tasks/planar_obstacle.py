# SPDX-License-Identifier: BSD-3-Clause
"""A point in the plane that must reach a goal behind a disc and can pass it on either side.

The task is symmetric about the line ``y = 0`` through start, disc and goal: negating every ``y`` negates the next ``y``
and does not change the reward, bitwise. Both sides earn the same return, and a policy that commits to one loses
nothing. The start is so close to the disc that the first step decides: going straight hits the disc.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from trudi_rsl.evaluation.modes import Array, BehaviourModes, circle

START = (-0.65, 0.0)
"""Fixed start of the point [m]."""
START_SPREAD = (0.05, 0.3)
"""Half the sides of the rectangle around :data:`START` in which the point starts at random [m]."""
GOAL = (0.65, 0.0)
"""Centre of the goal [m]."""
GOAL_RADIUS = 0.15
"""Distance to :data:`GOAL` within which an episode succeeds [m]."""
OBSTACLE_RADIUS = 0.5
"""Radius of the disc around the origin [m]; entering it fails the episode."""
ARENA = (1.0, 1.0)
"""Half the sides of the rectangle that the point cannot leave [m]."""
STEP_LENGTH = 0.2
"""Distance per step and axis at an action of 1 [m]."""
TIME_COST = 0.1
"""Cost of a step, in units of a step's progress."""
COLLISION_COST = 5.0
"""Cost of entering the disc, in units of a step's progress."""
MAX_EPISODE_STEPS = 25
"""Time limit in steps; passing the disc takes 8."""
DOT_RADIUS = 0.06
"""Standard deviation of the point's dot in observed pictures [m]."""
PICTURE_SIZE = 240
"""Sides of rendered pictures [pixels]."""


def advance(position: Array, action: NDArray[np.floating]) -> Array:
    """Return the next positions ``[..., 2]`` (m) for actions in :data:`STEP_LENGTH` per step, clipped to [-1, 1]."""
    return np.clip(position + STEP_LENGTH * np.clip(action, -1.0, 1.0), np.negative(ARENA), ARENA)


def in_obstacle(position: Array) -> NDArray[np.bool_]:
    """Return whether positions ``[..., 2]`` lie in the disc, ``[...]``."""
    return np.hypot(position[..., 0], position[..., 1]) < OBSTACLE_RADIUS


def goal_distance(position: Array) -> Array:
    """Return the distance of positions ``[..., 2]`` to the goal's centre, ``[...]`` in metres."""
    return np.hypot(position[..., 0] - GOAL[0], position[..., 1] - GOAL[1])


def reward(position: Array, reached: Array) -> Array:
    """Return the progress from ``position`` to ``reached`` in steps minus the costs of time and collision ``[...]``."""
    progress = (goal_distance(position) - goal_distance(reached)) / STEP_LENGTH
    return progress - TIME_COST - COLLISION_COST * in_obstacle(reached)


class PlanarObstacleEnv(gym.Env[NDArray[Any], NDArray[np.float32]]):
    """The Gymnasium environment.

    Observations are positions ``[2]`` in metres or pictures, actions velocities ``[2]`` in [-1, 1]. An episode
    terminates at the goal, a success (``info["is_success"]``), and in the disc.

    Args:
        fixed_start: Start every episode at :data:`START` instead of at random in the rectangle around it.
        pixels: Side of the square grey pictures ``[1, pixels, pixels]`` (bytes) to observe instead of positions.
        render_mode: ``rgb_array`` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, fixed_start: bool = False, pixels: int | None = None, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = Box(np.negative(ARENA), np.array(ARENA), dtype=np.float64)
        self._grid: Array | None = None
        if pixels is not None:
            self.observation_space = Box(0, 255, (1, pixels, pixels), np.uint8)
            self._grid = _pixel_centres(pixels)
            self._scene = 60.0 * in_obstacle(self._grid) + 120.0 * (goal_distance(self._grid) < GOAL_RADIUS)
        self._start_spread = np.zeros(2) if fixed_start else np.array(START_SPREAD)
        self._position = np.array(START)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start an episode; see :class:`gymnasium.Env`."""
        super().reset(seed=seed)
        self._position = START + self._start_spread * self.np_random.uniform(-1.0, 1.0, 2)
        return self._observation(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Move the point; see :class:`gymnasium.Env`."""
        before, self._position = self._position, advance(self._position, action)
        succeeded = bool(goal_distance(self._position) < GOAL_RADIUS)
        ended = succeeded or bool(in_obstacle(self._position))
        return self._observation(), float(reward(before, self._position)), ended, False, {"is_success": succeeded}

    def _observation(self) -> NDArray[Any]:
        if self._grid is None:
            return self._position
        # a dot wider than a pixel, whose brightness shows where in a pixel it lies
        distance = np.linalg.norm(self._grid - self._position, axis=-1)
        return np.maximum(self._scene, 255.0 * np.exp(-0.5 * (distance / DOT_RADIUS) ** 2)).astype(np.uint8)[None]

    def render(self) -> NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return an image of the arena, ``[PICTURE_SIZE, PICTURE_SIZE, 3]``."""
        pixels = _pixel_centres(PICTURE_SIZE)
        picture = np.full((PICTURE_SIZE, PICTURE_SIZE, 3), 255, np.uint8)
        picture[in_obstacle(pixels)] = (120, 120, 120)
        picture[goal_distance(pixels) < GOAL_RADIUS] = (150, 200, 150)
        picture[np.linalg.norm(pixels - self._position, axis=-1) < 0.04] = (30, 30, 30)
        return picture


class BatchedPlanarObstacle:
    """E environments that observe positions, stepped together; bitwise the same as stepping each.

    Args:
        envs: The environments, which keep their positions.
    """

    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, envs: Sequence[PlanarObstacleEnv]) -> None:
        self._envs = envs

    def before(self) -> Array:
        """Return the positions ``[E, 2]``."""
        return np.array([env._position for env in self._envs])

    observations = before

    def simulate(self, actions: NDArray[np.floating], note: object) -> None:
        """Move all points with actions ``[E, 2]``; nothing can fail that ``note`` would be called for."""
        for env, reached in zip(self._envs, advance(self.before(), actions), strict=True):
            env._position = reached

    def rewards(self, before: Array, actions: NDArray[np.floating]) -> Array:
        """Return the rewards ``[E]`` of a step from positions ``before`` that was simulated."""
        return reward(before, self.before())

    def terminated(self) -> NDArray[np.bool_]:
        """Return which points are at the goal or in the disc, ``[E]``."""
        reached = self.before()
        return (goal_distance(reached) < GOAL_RADIUS) | in_obstacle(reached)

    def infos(self) -> list[dict[str, Any]]:
        """Return which points are at the goal."""
        return [{"is_success": reached} for reached in (goal_distance(self.before()) < GOAL_RADIUS).tolist()]


def _pixel_centres(size: int) -> Array:
    """Return the positions ``[size, size, 2]`` of the pixels of a picture of the arena."""
    x, y = np.linspace(-ARENA[0], ARENA[0], size), np.linspace(ARENA[1], -ARENA[1], size)
    return np.stack(np.broadcast_arrays(x, y[:, None]), axis=-1)


def side(observations: Array) -> int | None:
    """Return the side on which a run ``[L + 1, 2]`` last crossed ``x = 0``: 0 left, 1 right, None if it failed."""
    if not goal_distance(observations[-1]) < GOAL_RADIUS:
        return None
    before = np.flatnonzero(observations[:, 0] < 0.0)[-1]
    a, b = observations[before], observations[before + 1]
    crossing = a[1] + (b[1] - a[1]) * -a[0] / (b[0] - a[0])
    return 0 if crossing > 0.0 else 1


MODES = BehaviourModes(
    names=("left", "right"),
    classify=side,
    fixed_start={"fixed_start": True},
    path=lambda observations: observations,
    coordinate=lambda observations: observations[:, 1],
    coordinate_name="Lateral position (m)",
    outlines={"obstacle": circle((0.0, 0.0), OBSTACLE_RADIUS), "goal": circle(GOAL, GOAL_RADIUS)},
)
