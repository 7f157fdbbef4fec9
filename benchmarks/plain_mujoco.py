# SPDX-License-Identifier: BSD-3-Clause
"""HalfCheetah in plain MuJoCo: the robot's file, and nothing of the training simulator but that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import mujoco as mujoco_package
import numpy as np

mujoco: Any = mujoco_package  # its types are not told
FRAME_SKIP = 5
"""Physics steps per action, as in HalfCheetah-v5."""
EPISODE_STEPS = 1000


class PlainCheetah:
    """The robot from a state.

    Args:
        qpos: Positions ``[9]``.
        qvel: Velocities ``[9]``.
    """

    def __init__(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        file = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "half_cheetah.xml"
        self.model = mujoco.MjModel.from_xml_path(str(file))
        self.data = mujoco.MjData(self.model)
        self.data.qpos[:], self.data.qvel[:] = qpos, qvel
        mujoco.mj_forward(self.model, self.data)

    @classmethod
    def at_random(cls, generator: np.random.Generator) -> PlainCheetah:
        """Return it at a start as HalfCheetah-v5 draws them."""
        return cls(generator.uniform(-0.1, 0.1, 9), 0.1 * generator.standard_normal(9))

    def read(self) -> np.ndarray:
        """Return the observation ``[17]``."""
        return np.concatenate([self.data.qpos[1:], self.data.qvel])

    def write(self, action: np.ndarray) -> float:
        """Set the torques ``[6]`` for one control period and return HalfCheetah-v5's reward."""
        before = self.data.qpos[0]
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, FRAME_SKIP)
        velocity = (self.data.qpos[0] - before) / (FRAME_SKIP * self.model.opt.timestep)
        return velocity - 0.1 * float(np.square(action).sum())
