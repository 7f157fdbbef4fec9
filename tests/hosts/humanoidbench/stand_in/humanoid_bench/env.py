# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""The environment of the stand-in and its tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box

from humanoid_bench.dmc_deps.dmc_sizes import array_sizes

ASSETS = Path(__file__).parent / "assets"


class Task:
    """A task: observes the point and a goal, pays for each step, and reports nothing."""

    max_episode_steps = 10
    success_bar: float | None = 10.0

    def __init__(self, env: HumanoidEnv) -> None:
        self._env = env
        self.unwrapped = self
        self.goal = np.zeros(2)

    def get_obs(self) -> np.ndarray:
        return np.concatenate([self._env.data.qpos, self._env.data.qvel, self.goal])

    def info(self) -> dict[str, Any]:
        return {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._env.do_simulation(action, self._env.frame_skip)
        info = self.info()
        return self.get_obs(), 1.0 + float(self.goal[0]), bool(info.get("success", False)), False, info

    def reset_model(self) -> np.ndarray:
        return self.get_obs()


class Reach(Task):
    """Draws its goal from NumPy's global generator."""

    def reset_model(self) -> np.ndarray:
        self.goal = np.random.uniform(-1.0, 1.0, size=2)
        return super().reset_model()


class Push(Task):
    """Changes its goal in place, and succeeds and terminates at the fourth step of some episodes."""

    def reset_model(self) -> np.ndarray:
        self.goal[0] = np.random.uniform(0.7, 1.0)
        self.steps = 0
        return super().reset_model()

    def info(self) -> dict[str, Any]:
        self.steps += 1
        return {"success": self.steps == 4 and self.goal[0] > 0.85}


class Maze(Task):
    """Keeps stages as a number, a list of names and a dictionary that exists only after the first step."""

    success_bar = None

    def __init__(self, env: HumanoidEnv) -> None:
        super().__init__(env)
        self.stage, self.ahead = 0, ["a", "b", "c"]

    def get_obs(self) -> np.ndarray:
        return np.concatenate([super().get_obs(), [self.stage, len(self.ahead)]])

    def info(self) -> dict[str, Any]:
        if not hasattr(self, "heights"):
            self.heights = {name: np.float64(len(self.ahead)) for name in self.ahead}
        self.stage += 1
        if self.stage % 3 == 0:
            self.ahead.remove(self.ahead[0])
            self.goal = self.goal + sum(self.heights.values())
        return {"success_subtasks": self.stage // 3}

    def reset_model(self) -> np.ndarray:
        self.stage, self.ahead, self.goal = 0, ["a", "b", "c"], np.zeros(2)
        return super().reset_model()


class Package(Task):
    """Moves a body of the model at every reset, where the next step finds it."""

    def get_obs(self) -> np.ndarray:
        self.goal = self._env.data.body("package").xpos[:2].copy()
        return super().get_obs()

    def reset_model(self) -> np.ndarray:
        self._env.model.body_pos[-1, :2] = np.random.uniform(-2.0, 2.0, 2)
        return super().reset_model()


TASKS = {"reach": Reach, "push": Push, "maze": Maze, "package": Package, "kitchen": Task, "highbar_hard": Task}


class HumanoidEnv(MujocoEnv):
    """The environment."""

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 50}  # noqa: RUF012

    def __init__(
        self, robot: str, control: str, task: str, render_mode: str | None = "rgb_array", **kwargs: Any
    ) -> None:
        path = ASSETS / kwargs.get("model_path", f"envs/{robot}_{control}_{task}.xml")
        size = 8 if task == "maze" else 6
        space = Box(-np.inf, np.inf, (size,), np.float64)
        super().__init__(str(path), frame_skip=10, observation_space=space, render_mode=render_mode)
        assert render_mode is None, "an OpenGL context for every environment"
        for struct, cls in (("mjmodel", mujoco.MjModel), ("mjdata", mujoco.MjData)):
            for field in array_sizes[struct]:
                getattr(cls, field)
        self.action_space = Box(-1.0, 1.0, self.action_space.shape, np.float32)
        self.task = TASKS[task](self)
        print("No randomness in this env.")

    def step(self, action: np.ndarray) -> Any:
        return self.task.step(action)

    def reset_model(self) -> np.ndarray:
        noise = self.np_random.uniform(-0.01, 0.01, size=self.model.nq)
        self.set_state(self.init_qpos + noise, self.init_qvel)
        return self.task.reset_model()
