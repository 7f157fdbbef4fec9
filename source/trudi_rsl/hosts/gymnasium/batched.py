# SPDX-License-Identifier: BSD-3-Clause
"""Stepping the copies of a Gymnasium task together where that is bitwise the same as stepping each."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray

from trudi_rsl.hosts.gymnasium.state import layers_of, time_limits
from trudi_rsl.hosts.gymnasium.vector import Step, TaskVector
from trudi_rsl.tasks.planar_obstacle import BatchedPlanarObstacle, PlanarObstacleEnv
from trudi_rsl.tasks.positions_only import PositionsOnly

logger = logging.getLogger(__name__)

_WRAPPERS = (OrderEnforcing, PassiveEnvChecker, TimeLimit, PositionsOnly)
"""Wrappers around tasks that can be batched. The first two do nothing after the first step of an environment, and the
last shows the first entries of an observation."""


class BatchedTask(Protocol):
    """E environments of a task, without wrappers; the environments themselves keep the state."""

    settings: ClassVar[tuple[str, ...]]
    """Attributes of an environment that the methods read from the first one."""

    def before(self) -> NDArray[Any]:
        """Return what the rewards compare with the state before the step, ``[E, ...]``."""
        ...

    def simulate(self, actions: NDArray[Any], note: Callable[[int, Exception], None]) -> None:
        """Step all simulations with actions ``[E, A]``; ``note`` receives an exception and the environment's index."""
        ...

    def observations(self) -> NDArray[Any]:
        """Return observations ``[E, O]``."""
        ...

    def rewards(self, before: NDArray[Any], actions: NDArray[Any]) -> NDArray[Any]:
        """Return the rewards ``[E]`` of a step from ``before`` that was simulated."""
        ...

    def terminated(self) -> NDArray[np.bool_]:
        """Return where an episode terminates, ``[E]``."""
        ...

    def infos(self) -> Sequence[Mapping[str, Any]]:
        """Return what each environment reports of success."""
        ...


class BatchedVector(TaskVector):
    """Copies of a task whose observations, rewards and terminations are computed at once.

    The first step is taken by the task's own ``step`` and compared: if anything differs bitwise, as it may with another
    version of the task, that is logged and the copies are stepped one by one from then on. So is a step before which
    somebody has given one copy other attributes than the rest.

    Args:
        batched: The copies without wrappers.

    The others are those of :class:`~trudi_rsl.hosts.gymnasium.vector.TaskVector`.
    """

    def __init__(self, task: str, envs: Sequence[gym.Env], time: Callable[[int], str], batched: BatchedTask) -> None:
        super().__init__(task, envs, time)
        self._batched: BatchedTask | None = batched
        self._cores = [env.unwrapped for env in self.envs]
        self._settings = attrgetter(*batched.settings) if batched.settings else None
        self._limits = [(i, limit) for i, env in enumerate(self.envs) for limit in time_limits(env)]
        self._compared = False

    @property
    def is_batched(self) -> bool:
        """Whether the task has not been found to differ."""
        return self._batched is not None

    def advance(self, actions: np.ndarray) -> Step:
        """Step all environments with actions ``[E, A]``.

        Raises:
            ConfigError: The task does not follow Gymnasium's interface.
        """
        if self._batched is None or not self._alike():
            return super().advance(actions)
        with np.errstate(all="ignore"):  # what is not finite is found later, and named
            before = self._batched.before()
        if not self._compared:
            step = super().advance(actions)
            self._compare(self._batched, before, actions, step)
            return step
        self._batched.simulate(actions, functools.partial(self.note, "step"))
        final, rewards, terminated = self._outcome(self._batched, before, actions)
        truncated = np.zeros(self.num_envs, bool)
        for i, limit in self._limits:
            limit._elapsed_steps = steps = (limit._elapsed_steps or 0) + 1
            truncated[i] |= steps >= limit._max_episode_steps
        step = Step(final.copy(), rewards, terminated, truncated, final, self._batched.infos())
        if step.ended.any():
            ended = np.flatnonzero(step.ended).tolist()
            step.obs[ended] = self.start(envs=ended)
        return step

    def _alike(self) -> bool:
        if self._settings is None:
            return True
        values = [self._settings(core) for core in self._cores]
        return values.count(values[0]) == len(values)

    def _outcome(
        self, batched: BatchedTask, before: NDArray[Any], actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return observations ``[E, O]`` float32, rewards ``[E]`` float64 and terminations ``[E]``."""
        with np.errstate(all="ignore"):
            obs = batched.observations()[:, : self._size].astype(np.float32)
            return obs, batched.rewards(before, actions).astype(np.float64), batched.terminated()

    def _compare(self, batched: BatchedTask, before: NDArray[Any], actions: np.ndarray, step: Step) -> None:
        self._compared = True
        running = ~step.ended  # the others have been reset
        own = (step.obs, step.rewards, step.terminated)
        try:
            found = self._outcome(batched, before, actions)
            same = all(
                mine.shape == its.shape and np.array_equal(mine[running], its[running], equal_nan=True)
                for mine, its in zip(found, own, strict=True)
            )
        except Exception as error:  # another version of the task may lack anything
            logger.debug("%s cannot be stepped in a batch: %r", self._task, error)
            same = False
        if not same:
            self._batched = None
            logger.info("%s differs from the version that this package can step in a batch.", self._task)


def make_vector(task: str, envs: Sequence[gym.Env], time: Callable[[int], str]) -> TaskVector:
    """Return copies of a task as a :class:`BatchedVector` if the task is one that can be batched.

    That are Gymnasium's MuJoCo tasks of version 5 and :class:`PlanarObstacleEnv`, exactly these classes, within the
    wrappers of ``gymnasium.make`` or :class:`PositionsOnly`.
    """
    batched = _batched_task(envs)
    return TaskVector(task, envs, time) if batched is None else BatchedVector(task, envs, time, batched)


def _batched_task(envs: Sequence[gym.Env]) -> BatchedTask | None:
    cores: list[Any] = [env.unwrapped for env in envs]
    kind = type(cores[0])
    if any(type(core) is not kind or core.render_mode == "human" for core in cores):
        return None
    if any(type(wrapper) not in _WRAPPERS for env in envs for wrapper in layers_of(env)[1:]):
        return None
    if kind is PlanarObstacleEnv:
        return BatchedPlanarObstacle(cores)
    if not kind.__module__.startswith("gymnasium.envs.mujoco."):
        return None
    from trudi_rsl.hosts.gymnasium.batched_mujoco import TASKS  # needs MuJoCo

    batched = TASKS.get(f"{kind.__module__}.{kind.__qualname__}")
    return None if batched is None else batched(cores)
