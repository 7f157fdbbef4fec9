# SPDX-License-Identifier: BSD-3-Clause
"""Third-party tasks of the tests; importing this module registers them."""

from __future__ import annotations

from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.spaces import Box, Dict, Discrete, Space, Tuple

ACTIONS = Box(-1.0, 1.0, (2,), np.float32)


class Clock(gym.Env):
    """A task whose observation, reward and image are the step and the episode."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(
        self,
        action_space: Space = ACTIONS,
        observation_space: Space | None = None,
        length: int | None = None,
        nan_at: int | None = None,
        nan_in: str = "observation",
        nan_seed: int | None = None,
        nan: float = np.nan,
        one_buffer: bool = False,
        render_mode: str | None = None,
    ) -> None:
        """Make a task that terminates after ``length`` steps and may return the same array from every step.

        Step ``nan_at`` (0 is the reset) of every episode returns ``nan`` as ``nan_in``, ``"observation"`` or
        ``"reward"``; with ``nan_seed`` only in the first episode of the environment with that seed.
        """
        self.action_space = action_space
        self.observation_space = observation_space or Box(-np.inf, np.inf, (2,), np.float64)
        self.length, self.nan_at, self.nan_in, self.one_buffer = length, nan_at, nan_in, one_buffer
        self.nan_seed, self.seeds, self.nan = nan_seed, [], nan
        self.render_mode = render_mode
        self.steps, self.episode = 0, -1
        self.buffer = np.zeros(2)
        self.actions: list[np.ndarray] = []

    def _observe(self) -> np.ndarray:
        obs = self.buffer if self.one_buffer else np.zeros(2)
        obs[:] = self.steps, self.episode
        if self._is_nan("observation"):
            obs[1] = self.nan
        return obs

    def _is_nan(self, quantity: str) -> bool:
        here = self.nan_seed is None or self.seeds == [self.nan_seed]
        return here and self.steps == self.nan_at and self.nan_in == quantity

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        self.episode += 1
        self.seeds = [*self.seeds, seed]
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.actions.append(action)
        self.steps += 1
        reward = self.nan if self._is_nan("reward") else float(self.steps)
        return self._observe(), reward, self.steps == self.length, False, {}

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        return np.full((4, 6, 3), self.steps, dtype=np.uint8)


class RememberingCheetah(HalfCheetahEnv):
    """A MuJoCo task with state in Python: its reward depends on the step and on the previous action."""

    def __init__(self, bonus: float = 1.0) -> None:
        """Make the task with ``bonus`` per step."""
        self.bonus = bonus
        self.count = 0
        self.previous = np.zeros(6, dtype=np.float32)
        super().__init__()
        self.positions = self.data.qpos

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, Literal[False], Literal[False], dict]:
        obs, _, terminated, truncated, info = super().step(action)
        self.count += 1
        reward = self.count * self.bonus + float(self.previous.sum()) + float(self.positions[0])
        self.previous = action.copy()
        return obs, reward, terminated, truncated, info

    def reset_model(self) -> np.ndarray:
        self.count = 0
        return super().reset_model()


class Parts(gym.Env):
    """A task with observations of all kinds in dictionaries and tuples, whose numbers count on from the step."""

    def __init__(self) -> None:
        """Make the task."""
        joints = Dict(
            [("velocity", Box(-np.inf, np.inf, (2,), np.float64)), ("angle", Box(-np.inf, np.inf, (), np.float64))]
        )
        goal = Tuple((Box(-np.inf, np.inf, (1,), np.float32), Discrete(3)))
        grid = Box(-np.inf, np.inf, (2, 2), np.float32)
        self.observation_space = Dict([("joints", joints), ("grid", grid), ("goal", goal)])
        self.action_space = ACTIONS
        self.steps = 0

    def _observe(self) -> dict[str, Any]:
        numbers = 100.0 * self.steps + np.arange(7.0)
        return {
            "joints": {"velocity": numbers[:2], "angle": np.asarray(numbers[2])},
            "grid": numbers[3:].reshape(2, 2).astype(np.float32),
            "goal": (np.array([-self.steps], np.float32), self.steps % 3),
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict]:
        self.steps += 1
        return self._observe(), float(np.sum(action)), False, False, {}


class Samples(gym.Env):
    """A task whose observations are samples of any space."""

    def __init__(self, space: Space) -> None:
        """Make the task with observations in ``space``."""
        self.observation_space, self.action_space = space, ACTIONS

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        return self.observation_space.sample(), 0.0, False, False, {}


CAMERA = gym.spaces.Dict({"camera": gym.spaces.Box(0, 255, (8, 8), np.uint8), "state": gym.spaces.Box(-1.0, 1.0, (2,))})

gym.register("trudi-tests/Camera-v0", f"{__name__}:Samples", max_episode_steps=5, kwargs={"space": CAMERA})
gym.register("trudi-tests/Samples-v0", f"{__name__}:Samples", max_episode_steps=5)
gym.register("trudi-tests/Parts-v0", f"{__name__}:Parts", max_episode_steps=4)
gym.register("trudi-tests/Clock-v0", f"{__name__}:Clock")
gym.register("trudi-tests/RememberingCheetah-v0", f"{__name__}:RememberingCheetah", max_episode_steps=20)
