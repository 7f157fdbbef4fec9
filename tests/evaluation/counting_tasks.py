# SPDX-License-Identifier: BSD-3-Clause
"""Tasks with known returns; importing this module registers them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

SHORT, LONG = 2, 15
"""Lengths of the two kinds of episodes, and their returns."""


class ShortOrLong(gym.Env):
    """Episodes are short and long in turn and give 1 per step; a copy with an even seed starts with a short one.

    The observation is the step within the episode.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.number = 0
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.number = seed
        elif self.steps > 0:
            self.number += 1
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        ended = self.steps == (SHORT if self.number % 2 == 0 else LONG)
        return np.full(1, self.steps, np.float32), 1.0, ended, False, {}

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a picture whose brightness tells the step."""
        return np.full((32, 48, 3), 10 * self.steps, dtype=np.uint8)


class Telling(ShortOrLong):
    """A task of which long episodes succeed, and which says so at their last step under the name ``key``.

    Without ``always`` it says nothing of short episodes.
    """

    def __init__(self, render_mode: str | None = None, key: str = "is_success", always: bool = True) -> None:
        super().__init__(render_mode)
        self.key, self.always = key, always

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        obs, reward, terminated, truncated, info = super().step(action)
        success = self.steps == LONG
        if success or self.always:
            info[self.key] = success
        return obs, reward, terminated, truncated, info


class Aim(gym.Env):
    """Each of five steps costs the action's distance from a target within 0.1 of 0.5, drawn at every reset, not shown.

    An episode whose last action is within 0.2 of it succeeds.
    """

    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.target, self.steps = self.np_random.uniform(0.4, 0.6), 0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        distance = abs(float(action[0]) - self.target)
        info = {"is_success": distance < 0.2} if self.steps == 5 else {}
        return np.zeros(1, np.float32), -distance, self.steps == 5, False, info


class Unrenderable(ShortOrLong):
    """A task whose rendering fails, as without OpenGL."""

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise RuntimeError("no OpenGL here")


gym.register("trudi-tests/ShortOrLong-v0", f"{__name__}:ShortOrLong")
gym.register("trudi-tests/Telling-v0", f"{__name__}:Telling")
gym.register("trudi-tests/Aim-v0", f"{__name__}:Aim")
gym.register("trudi-tests/Unrenderable-v0", f"{__name__}:Unrenderable")
