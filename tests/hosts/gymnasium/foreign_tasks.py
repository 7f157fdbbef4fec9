# SPDX-License-Identifier: BSD-3-Clause
"""Tasks as others write them: keeping odd things, reporting odd things, breaking Gymnasium's interface."""

from __future__ import annotations

import enum
import random
import weakref
from collections import deque
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv
from gymnasium.spaces import Box

_BOX = Box(-np.inf, np.inf, (2,), np.float32)


class Point(gym.Env):
    """A point on a line that starts at random and is pushed."""

    observation_space = _BOX
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.x = self.v = 0.0

    def observe(self) -> Any:
        return np.array([self.x, self.v], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.x, self.v = float(self.np_random.uniform(-1.0, 1.0)), 0.0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> Any:
        self.v += 0.1 * float(action[0])
        self.x += 0.1 * self.v
        return self.observe(), -abs(self.x), False, False, {}


# -- random generators ------------------------------------------------------------------------------------------------

GENERATORS: dict[str, Any] = {
    **{name: lambda seed, n=name: np.random.Generator(getattr(np.random, n)(seed)) for name in
       ("SFC64", "MT19937", "Philox", "PCG64DXSM")},
    "RandomState": np.random.RandomState,
    "Random": random.Random,
    "SystemRandom": random.SystemRandom,
}  # fmt: skip


class OwnGenerator(Point):
    """A task whose generator is of another kind than Gymnasium's."""

    def __init__(self, kind: str, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.kind = kind

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        if seed is not None or self._np_random is None:
            self.np_random = GENERATORS[self.kind](seed)
        self.x, self.v = self.np_random.uniform(-1.0, 1.0), 0.0
        return self.observe(), {}


# -- reports ----------------------------------------------------------------------------------------------------------

INFOS: dict[str, Any] = {
    "shape": lambda n: {"contacts": np.zeros((n, 3))},
    "text_or_number": lambda n: {"distance": n if n else "far"},
    "dict_or_number": lambda n: {"goal": {"x": n} if n else 0},
    "success_text": lambda _n: {"success": "yes"},
    "success_dict": lambda n: {"is_success": {"left": True, "right": n > 0}},
    "success_vector": lambda _n: {"success": np.ones(3)},
    "none": lambda _n: {"success": None, 3: object()},
}


class Reporting(Point):
    """A task whose ``info`` changes from step to step, and whose ``dt`` is no number."""

    dt = "fast"

    def __init__(self, kind: str, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.kind = kind

    def step(self, action: np.ndarray) -> Any:
        return *super().step(action)[:4], INFOS[self.kind](int(self.np_random.integers(0, 4)))


class SuccessAtStep(Point):
    """Reports success as ``key`` at the third of five steps of an episode, in a form of its own."""

    def __init__(self, key: str, form: str = "flag", render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.key, self.form, self.steps = key, form, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        self.steps = 0
        return super().reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> Any:
        self.steps += 1
        reached = self.steps == 3
        value = {"flag": reached, "array": np.array([reached]), "number": float(reached)}[self.form]
        return *super().step(action)[:2], self.steps == 5, False, {self.key: value}


class SharedBuffer(gym.Env):
    """Counts its steps in the array that it returns; its reset writes to it, and returns ``kind`` of it."""

    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)
    state = np.zeros(1, np.float32)

    def __init__(self, kind: str = "copy", per_class: bool = False, render_mode: str | None = None) -> None:
        self.kind = kind
        if not per_class:
            self.state = np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.state[:] = 0.0
        return (self.state if self.kind == "state" else self.state.copy()), {}

    def step(self, action: np.ndarray) -> Any:
        self.state += 1.0
        return self.state, 1.0, False, False, {}


# -- mistakes ---------------------------------------------------------------------------------------------------------


class RewardOfOne(Point):
    def step(self, action: np.ndarray) -> Any:
        obs, reward, *rest = super().step(action)
        return obs, np.array([reward]), *rest


class RewardVector(Point):
    def step(self, action: np.ndarray) -> Any:
        obs, reward, *rest = super().step(action)
        return obs, np.array([reward, 0.0]), *rest


class IntegerSpace(Point):
    observation_space = Box(-9, 9, (2,), np.int64)

    def observe(self) -> Any:
        return np.array([self.x, self.v])


class Row(Point):
    def observe(self) -> Any:
        return np.array([[self.x, self.v]], np.float32)


class Longer(Point):
    def observe(self) -> Any:
        return np.zeros(3, np.float32)


class Text(Point):
    def observe(self) -> Any:
        return "here"


class NoOptions(Point):
    def reset(self, seed: int | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().reset(seed=seed)


class OldReset(Point):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed)[0]


class OldStep(Point):
    def step(self, action: np.ndarray) -> Any:
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, info


class NoFlag(Point):
    def step(self, action: np.ndarray) -> Any:
        return *super().step(action)[:2], None, False, {}


class FailingClose(Point):
    def close(self) -> None:
        raise RuntimeError("already closed")


class LeavingClose(Point):
    def close(self) -> None:
        raise SystemExit("the simulator is shut down")


class HugeReward(Point):
    def step(self, action: np.ndarray) -> Any:
        return super().step(action)[0], 10**400, False, False, {}


class NoSpace(Point):
    observation_space: Any = None


class FailingStep(Point):
    def step(self, action: np.ndarray) -> Any:
        raise ZeroDivisionError("own bug")


# -- MuJoCo tasks that keep state where MuJoCo's own state does not reach ------------------------------------------

_HIDDEN = SimpleNamespace(force=0.0)
"""State outside of every environment, which no checkpoint knows."""


class Stage(enum.Enum):
    APPROACH = 0
    LIFT = 1


class StageInt(enum.IntEnum):
    FIRST = 1
    SECOND = 2


class Goal:
    """A task object with state in slots and attributes, as HumanoidBench's ``env.task``."""

    __slots__ = ("owner", "position", "stage")

    def __init__(self, owner: Any) -> None:
        self.owner, self.position, self.stage = owner, np.zeros(1), Stage.APPROACH


class Raising:
    """An object with attributes that raise when they are read, as proxies of libraries do."""

    __slots__ = ("__weakref__",)

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"the connection is closed: {name}")


_ALIVE: list[Raising] = []
"""Keeps objects apart from later ones, which could have the same place in memory."""


class Foreign(InvertedPendulumEnv):
    """An inverted pendulum whose reward depends on state of one ``kind``, which resets draw and steps change."""

    def __init__(self, kind: str = "nothing", render_mode: str | None = None) -> None:
        self.kind = kind
        self.count = 0
        self.task = Goal(self)
        self.level = StageInt.FIRST
        self.recent: deque[float] = deque(maxlen=3)
        self.visited: set[int] = set()
        self.robots = [{"speed": 0.0, "task": Goal(self)}]
        self.rng: Any = np.random.RandomState(0)
        self.goals = [float(g) for g in np.random.default_rng().uniform(0.5, 1.5, 5)] if kind == "constructor" else []
        self.odd: Any = iter(range(10**9)) if kind == "iterator" else None
        super().__init__(render_mode=render_mode)

    def reset_model(self) -> np.ndarray:
        drawn = float(self.np_random.uniform(0.5, 1.5))
        self.count = 0
        self.task.stage, self.level = Stage.APPROACH, StageInt.FIRST
        if self.kind == "model":
            self.model.body_pos[1, 0] = 0.1 * drawn
            self.model.opt.gravity[2] = -9.0 * drawn
        elif self.kind == "nested":
            self.task.position = np.array([drawn])
            self.robots[0]["task"].position = np.array([2.0 * drawn])
        elif self.kind == "containers":
            self.recent.clear()
            self.visited.clear()
            self.robots[0]["speed"] = drawn
        elif self.kind == "generators":
            self.rng = np.random.RandomState(int(1000 * drawn))
        elif self.kind == "constructor":
            self.goal = float(self.np_random.choice(self.goals))
        elif self.kind == "hidden":
            _HIDDEN.force = drawn
        elif self.kind == "object":
            self.odd = complex
        return super().reset_model()

    def step(self, action: np.ndarray) -> Any:
        obs, _, _, _, info = super().step(action)
        self.count += 1
        reward = float(self.count)
        if self.kind == "constructor":
            reward += self.goal
        elif self.kind == "lazy":
            self.late = getattr(self, "late", None) or Goal(self)
            self.late.position += 0.1
            reward += float(self.late.position[0])
        elif self.kind == "nested":
            reward += float(self.task.position[0] + self.robots[0]["task"].position[0])
        elif self.kind == "containers":
            self.recent.append(float(obs[0]))
            self.visited.add(int(10 * self.count) % 7)
            reward += sum(self.recent) + len(self.visited) + self.robots[0]["speed"]
        elif self.kind == "enum":
            if self.count == 2:
                self.task.stage, self.level = Stage.LIFT, StageInt.SECOND
            reward += self.task.stage.value + self.level
        elif self.kind == "generators":
            reward += float(self.rng.uniform())
        elif self.kind == "hidden":
            reward += _HIDDEN.force
            _HIDDEN.force *= 1.01
        elif self.kind == "iterator":
            reward += next(self.odd)
        elif self.kind == "object":
            self.odd = np.array([object()])
        elif self.kind == "raising":
            _ALIVE.append(Raising())
            self.odd = _ALIVE[-1]
        elif self.kind == "gone":
            self.odd = weakref.proxy(Raising())
        return obs, reward, False, False, info


class Keep(gym.Wrapper):
    """A wrapper that changes nothing."""


POINTS = (OwnGenerator, Reporting, SuccessAtStep, SharedBuffer)
MISTAKES = (RewardOfOne, RewardVector, IntegerSpace, Row, Longer, Text, NoOptions, OldReset, OldStep, NoFlag)
for _task in (Point, *POINTS, *MISTAKES, HugeReward, NoSpace, FailingClose, FailingStep, LeavingClose):
    gym.register(f"foreign/{_task.__name__}-v0", f"{__name__}:{_task.__name__}", max_episode_steps=5)
gym.register("foreign/Foreign-v0", f"{__name__}:Foreign", max_episode_steps=20)
gym.register("foreign/InnerMake-v0", lambda **k: Keep(gym.make("Pendulum-v1", **k)), max_episode_steps=100)
gym.register("foreign/InnerOnly-v0", lambda **k: Keep(gym.make("Pendulum-v1", **k)))
gym.register("foreign/InnerMujoco-v0", lambda **k: Keep(gym.make("InvertedPendulum-v5", **k)), max_episode_steps=500)
gym.register("foreign/Wrapped-v0", lambda **k: gym.wrappers.TimeLimit(Point(**k), 30), max_episode_steps=50)
gym.register(
    "foreign/Stacked-v0",
    lambda **k: gym.wrappers.FlattenObservation(gym.wrappers.FrameStackObservation(Foreign(**k), 3)),
    max_episode_steps=20,
)
_NORMALIZING = {
    "NormalizeObservation": gym.wrappers.NormalizeObservation,
    "NormalizeReward": gym.wrappers.NormalizeReward,
}
for _name, _wrapper in _NORMALIZING.items():
    gym.register(f"foreign/{_name}-v0", lambda w=_wrapper, **k: w(Foreign(**k)), max_episode_steps=20)


def name_of(task: str) -> str:
    """Return the id of a task of this module, as users name it."""
    return f"{__name__}:foreign/{task}-v0"
