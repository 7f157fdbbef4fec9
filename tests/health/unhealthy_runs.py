# SPDX-License-Identifier: BSD-3-Clause
"""Short real trainings that violate no rule, or one."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from omegaconf import OmegaConf

from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.config import save_params
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner

TASK = "trudi-tests/Follow-v0"


class Follow(gym.Env):
    """Reward for an action like the observation, whose second entry grows by ``drift`` per step.

    ``push`` is a reward per action that replaces the one for following, which ``scale`` scales; it is NaN every
    ``nan_every`` steps, never in two environments at once. Each step is ``sleeps`` seconds slower than the one before.
    """

    action_space = Box(-1.0, 1.0, (1,), np.float32)
    observation_space = Box(-np.inf, np.inf, (2,), np.float64)

    def __init__(
        self, drift: float = 0.0, push: float = 0.0, sleeps: float = 0.0, scale: float = 1.0, nan_every: int = 0
    ) -> None:
        self.drift, self.push, self.sleeps, self.scale, self.nan_every = drift, push, sleeps, scale, nan_every
        self.count = self.first_seed = 0
        self.goal = np.zeros(2)

    def _observe(self) -> np.ndarray:
        self.goal = self.np_random.uniform(-0.5, 0.5, 2)
        return self.goal + np.array([0.0, self.drift * self.count])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.first_seed = self.first_seed or seed or 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        time.sleep(self.sleeps * self.count)
        self.count += 1
        following = self.scale * (1.0 - float(action[0] - self.goal[0]) ** 2)
        reward = self.push * float(action[0]) if self.push else following
        if self.nan_every and (self.count + self.first_seed) % self.nan_every == 0:
            reward = np.nan
        return self._observe(), reward, False, False, {}


gym.register(TASK, f"{__name__}:Follow", max_episode_steps=20)


class Clock:
    """A clock that only ``sleep`` advances, and each reading by a millisecond."""

    now = 1.0e9

    def time(self) -> float:
        self.now += 1e-3
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Trained:
    """A run folder as scripts/train.py lays it out, and the warnings and each iteration's scalars of its training."""

    folder: Path
    warnings: list[str]
    log: list[dict[str, float]]


class Messages(logging.Handler):
    """Keeps the messages of warnings of the rules while it is entered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())

    def __enter__(self) -> Self:
        logging.getLogger("trudi_rsl.health").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("trudi_rsl.health").removeHandler(self)


def train(folder: Path, iterations: int, task: dict[str, Any] | None = None, **settings: Any) -> Trained:
    """Train TruDi with ``settings`` on :class:`Follow` with the options ``task``."""
    torch.manual_seed(0)
    usual = {"learning_rate": 3e-3, "num_learning_epochs": 2, "num_mini_batches": 4, "value_range": "auto"}
    agent = runner_cfg(**(usual | {"gamma": 0.9, "init_alpha": 0.01} | settings))
    agent |= {"num_steps_per_env": 8, "save_interval": 10}
    folder.mkdir(parents=True)
    save_params(folder, OmegaConf.create({"task": TASK, "agent": agent, "env": {"num_envs": 8}}))
    log = []
    with warnings.catch_warnings(record=True) as caught, Messages() as messages, pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("always")
        clock = Clock()
        for name in ("time", "monotonic"):
            patch.setattr(time, name, clock.time)
        patch.setattr(time, "sleep", clock.sleep)
        runner = OnPolicyRunner(GymnasiumVecEnv(TASK, 8, seed=1, env_kwargs=task), agent, str(folder))
        update = runner.alg.update
        runner.alg.update = lambda: log.append(update()) or log[-1]  # type: ignore[method-assign]
        runner.learn(iterations)
    return Trained(folder, [*messages.found, *(str(warning.message) for warning in caught)], log)


Unhealthy = Callable[[str], Trained]
"""Returns the training that violates a rule."""


@dataclass(frozen=True)
class Problem:
    """A training that violates a rule, and a part of the finding."""

    message: str
    iterations: int
    task: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


HEALTHY_ITERATIONS = 70
"""As many as the longest of the unhealthy trainings."""

PROBLEMS = {
    "skipped updates": Problem("for a gradient that was", 6, {"scale": 1e30}, {"max_skipped_updates": 10}),
    "faulty environments": Problem("returned NaN or infinity in some environments", 6, {"nan_every": 8}),
    "clipped targets": Problem("and are clipped", 8, settings={"value_range": [-0.5, 0.5]}),
    "dead critic": Problem("of the critic's gradient", 45, settings={"value_range": [-1e6, 1e6]}),
    "KL above eps": Problem("updates only lead back into it", 40, settings={"kl_bound": 1e-4, "learning_rate": 2e-2}),
    "KL far above eps": Problem("far out of the trust region", 5, settings={"kl_bound": 1e-4, "learning_rate": 2e-2}),
    "entropy target": Problem(
        "off its target", HEALTHY_ITERATIONS, settings={"entropy_target_per_dim": 0.69, "learning_rate": 1e-2}
    ),
    "saturated actions": Problem("of their bounds", 45, {"push": 1000.0}, {"init_alpha": 1e-4}),
    "normaliser drift": Problem("it drifts", 50, {"drift": 0.1}),
    "throughput": Problem("An iteration takes", 48, {"sleeps": 1e-4}),
}
"""Name of each rule to a training that violates it."""
