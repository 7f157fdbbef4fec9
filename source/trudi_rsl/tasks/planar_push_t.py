# SPDX-License-Identifier: BSD-3-Clause
"""A T-shaped block pushed to a goal in the plane, simulated with MuJoCo (Push-T of the TruDi paper, in the plane).

The T is its own mirror image over its stem, and so are the goal, the reward and the fixed start, which has the block at
the goal's place but turned by pi. Turning it clockwise and counter-clockwise is worth the same.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box
from numpy.typing import NDArray

from trudi_rsl.tasks import t_shape
from trudi_rsl.tasks.push_t_modes import FIXED_START

MODEL = Path(__file__).with_name("planar_push_t.xml")
"""The simulated model: block and pusher, with the joints ``x, y, angle`` and ``x, y``."""
SUBSTEPS = 5
"""Steps of the simulation per action, 10 ms each."""
BLOCK_SPREAD = 0.1
"""Half the side of the square around the goal from which the block's random starts are drawn [m]; it is turned by any
angle."""
PUSHER_SPREAD = 0.3
"""Half the side of the square from which the pusher's random starts are drawn, clear of the block [m]."""
CLEARANCE = t_shape.RADIUS + 0.03
"""Distance from the block's centroid at which the pusher's random starts begin [m]."""
Array = NDArray[np.float64]


class PlanarPushTEnv(MujocoEnv):
    """The task for Gymnasium.

    Observations ``[8]``: position of the pusher and of the block's centroid (m), cosine and sine of the block's angle,
    and the pusher in the block's frame (m). Actions are the pusher's velocities ``[2]``, up to 0.5 m/s. An episode has
    succeeded once :func:`~trudi_rsl.tasks.t_shape.succeeds` says so (``info["is_success"]``), and goes on after that.

    Args:
        fixed_start: Begin every episode at :data:`FIXED_START`.
        render_mode: Gymnasium's render mode.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 20,
    }

    def __init__(self, fixed_start: bool = False, render_mode: str | None = None) -> None:
        self._fixed_start = fixed_start
        self._succeeded = False
        super().__init__(
            str(MODEL),
            SUBSTEPS,
            Box(-np.inf, np.inf, (8,), np.float64),
            render_mode=render_mode,
            camera_name="top",
        )

    def step(self, action: NDArray[np.float32]) -> tuple[Array, float, bool, bool, dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move the pusher; see :class:`gymnasium.Env`."""
        self.do_simulation(action, self.frame_skip)
        x, y, angle, *pusher = self.data.qpos
        self._succeeded = self._succeeded or t_shape.succeeds(x, y, angle)
        if self.render_mode == "human":
            self.render()
        value = float(t_shape.reward((x, y), angle, pusher))
        return self._observation(), value, False, False, {"is_success": self._succeeded}

    def reset_model(self) -> Array:
        """Put block and pusher where the episode starts, at rest, and return the observation."""
        self._succeeded = False
        self.set_state(np.array(FIXED_START if self._fixed_start else self._random_start()), np.zeros(self.model.nv))
        return self._observation()

    def _random_start(self) -> Array:
        block = BLOCK_SPREAD * self.np_random.uniform(-1.0, 1.0, 2)
        angle = self.np_random.uniform(-math.pi, math.pi)
        while True:
            pusher = PUSHER_SPREAD * self.np_random.uniform(-1.0, 1.0, 2)
            if math.dist(pusher, block) > CLEARANCE:
                return np.concatenate([block, [angle], pusher])

    def _observation(self) -> Array:
        x, y, angle, pusher_x, pusher_y = self.data.qpos
        cos, sin = math.cos(angle), math.sin(angle)
        dx, dy = pusher_x - x, pusher_y - y
        return np.array([pusher_x, pusher_y, x, y, cos, sin, cos * dx + sin * dy, cos * dy - sin * dx])
