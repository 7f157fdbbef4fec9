# SPDX-License-Identifier: BSD-3-Clause
"""A T-shaped block that must be pushed to a goal pose, simulated with MuJoCo (the TruDi paper's Push-T, in the plane).

The T is symmetric about its stem, and so are the goal, the reward and the fixed start, where the block lies at the goal
but turned by pi. Turning it clockwise and counter-clockwise earns the same return.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from numpy.typing import NDArray

from trudi_rsl.evaluation.modes import Array
from trudi_rsl.tasks import push_t
from trudi_rsl.tasks.push_t import FIXED_START

MODEL = Path(__file__).with_name("planar_push_t.xml")
"""MuJoCo model of block and pusher, with the joints ``x, y, angle`` and ``x, y``."""
SUBSTEPS = 5
"""Simulation steps of 10 ms per action."""
BLOCK_SPREAD = 0.1
"""Half the side of the square around the goal in which the block starts at random [m], at any angle."""
PUSHER_SPREAD = 0.3
"""Half the side of the square in which the pusher starts at random, clear of the block [m]."""
CLEARANCE = push_t.RADIUS + 0.03
"""Smallest distance between the random starts of the pusher and of the block's centroid [m]."""


class PlanarPushTEnv(MujocoEnv):
    """The Gymnasium environment.

    Observations ``[8]``: position of the pusher and of the block's centroid (m), cosine and sine of the block's angle,
    and position of the pusher in the block's frame (m). Actions ``[2]`` are the pusher's velocities, at most 0.5 m/s.
    After :func:`~trudi_rsl.tasks.push_t.succeeds`, ``info["is_success"]`` stays True until the time limit.

    Args:
        fixed_start: Start every episode at :data:`FIXED_START`.
        render_mode: Gymnasium's render mode.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, fixed_start: bool = False, render_mode: str | None = None) -> None:
        self._fixed_start, self._succeeded = fixed_start, False
        space = Box(-np.inf, np.inf, (8,), np.float64)
        super().__init__(str(MODEL), SUBSTEPS, space, render_mode=render_mode, camera_name="top")

    def step(self, action: NDArray[np.float32]) -> tuple[Array, float, bool, bool, dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move the pusher; see :class:`gymnasium.Env`."""
        self.do_simulation(action, self.frame_skip)
        x, y, angle, *pusher = self.data.qpos
        self._succeeded = self._succeeded or push_t.succeeds(x, y, angle)
        if self.render_mode == "human":
            self.render()
        reward = float(push_t.reward((x, y), angle, pusher))
        return self._observation(), reward, False, False, {"is_success": self._succeeded}

    def reset_model(self) -> Array:
        """Place block and pusher at rest at the start of an episode and return the observation."""
        self._succeeded = False
        self.set_state(np.array(FIXED_START if self._fixed_start else self._random_start()), np.zeros(self.model.nv))
        return self._observation()

    def _random_start(self) -> Array:
        block = BLOCK_SPREAD * self.np_random.uniform(-1.0, 1.0, 2)
        angle = self.np_random.uniform(-math.pi, math.pi)
        pusher = block
        while math.dist(pusher, block) <= CLEARANCE:
            pusher = PUSHER_SPREAD * self.np_random.uniform(-1.0, 1.0, 2)
        return np.concatenate([block, [angle], pusher])

    def _observation(self) -> Array:
        x, y, angle, pusher_x, pusher_y = self.data.qpos
        cos, sin = math.cos(angle), math.sin(angle)
        dx, dy = pusher_x - x, pusher_y - y
        return np.array([pusher_x, pusher_y, x, y, cos, sin, cos * dx + sin * dy, cos * dy - sin * dx])
