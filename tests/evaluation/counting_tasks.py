# SPDX-License-Identifier: BSD-3-Clause
"""Tasks with known returns; importing this module registers them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from tensordict import TensorDict
from torch import Tensor

SHORT, LONG = 2, 15
"""Lengths of the two kinds of episodes, and their returns."""


class ShortOrLong(gym.Env):
    """Episodes are short and long in turn and give 1 per step; a copy with an even seed starts with a short one.

    The observation is the step within the episode. With ``success_key``, the last step of an episode reports under this
    name whether the episode was long; without ``report_failures``, only long episodes report.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(
        self, render_mode: str | None = None, success_key: str | None = None, report_failures: bool = True
    ) -> None:
        self.render_mode, self.success_key, self.report_failures = render_mode, success_key, report_failures
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
        success = self.steps == LONG
        info = {self.success_key: success} if self.success_key and (success or self.report_failures) else {}
        return np.full(1, self.steps, np.float32), 1.0, ended, False, info

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a picture whose brightness is 10 times the step."""
        return np.full((32, 48, 3), 10 * self.steps, dtype=np.uint8)


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


TASKS = (ShortOrLong, Aim, Unrenderable)
for task in TASKS:
    gym.register(f"trudi-tests/{task.__name__}-v0", f"{__name__}:{task.__name__}")

SHORT_OR_LONG, AIM, UNRENDERABLE = (f"{__name__}:trudi-tests/{task.__name__}-v0" for task in TASKS)


def idle(obs: TensorDict) -> Tensor:
    """Return actions of 0, as a policy that does nothing."""
    return torch.zeros(obs.batch_size[0], 1)
