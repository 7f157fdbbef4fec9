# SPDX-License-Identifier: BSD-3-Clause
"""Stepping copies of a Gymnasium task, with errors that name the task, the step and the remedy for its mistakes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.hosts.gymnasium.make import raised_by_gymnasium

logger = logging.getLogger(__name__)

_RESET = "reset(self, *, seed=None, options=None)"
_UNKNOWN_ARGUMENT = re.compile(r"reset\(\) got an unexpected keyword argument '(seed|options)'")


class Step(NamedTuple):
    """One step of E environments; those that end are reset in the same step."""

    obs: np.ndarray
    """Current observations ``[E, O]`` float32: where an episode ended, the first of the next one."""
    rewards: np.ndarray
    """``[E]`` float64."""
    terminated: np.ndarray
    """``[E]`` bool."""
    truncated: np.ndarray
    """``[E]`` bool."""
    final_obs: np.ndarray
    """Last observations of the episodes that ended, current ones elsewhere, ``[E, O]`` float32."""
    infos: Sequence[Mapping[str, Any]]
    """What each environment reported in this step, before a reset; not merged, since tasks may report anything."""

    @property
    def ended(self) -> np.ndarray:
        """Whether an episode ended, ``[E]`` bool."""
        return self.terminated | self.truncated


class TaskVector(SyncVectorEnv):
    """Gymnasium's synchronous vector environment, whose copies are stepped by :meth:`advance`.

    Unlike Gymnasium's ``step``, that copies each observation when it is returned (a task may write the next one to the
    same array, even in its reset), does not merge ``info``, and checks what a task returns.

    Args:
        task: Task name for messages.
        envs: The copies; their observation spaces are 1-D Boxes.
        time: Maps the index of an environment to a description of its current time step, for messages.

    Raises:
        ConfigError: The copies have different spaces.
    """

    def __init__(self, task: str, envs: Sequence[gym.Env], time: Callable[[int], str]) -> None:
        self._task, self._time = task, time
        try:
            super().__init__([lambda env=env: env for env in envs], autoreset_mode=AutoresetMode.SAME_STEP)
        except RuntimeError as error:
            raise ConfigError(f"The copies of task {task!r} differ from each other: {one_line(error)}") from error
        self._size = int(self.single_observation_space.shape[0])  # pyright: ignore[reportOptionalSubscript]

    def start(self, seed: int | None = None, envs: Sequence[int] | None = None) -> np.ndarray:
        """Reset environments (None: all), i with ``seed + i``, and return their first observations ``[K, O]`` float32.

        Raises:
            ConfigError: The task does not follow Gymnasium's interface.
        """
        chosen = range(self.num_envs) if envs is None else envs
        obs = np.empty((len(chosen), self._size), np.float32)
        for row, i in enumerate(chosen):
            obs[row] = self._reset(i, {} if seed is None else {"seed": seed + i})
        return obs

    def advance(self, actions: np.ndarray) -> Step:
        """Step all environments with actions ``[E, A]``.

        Raises:
            ConfigError: The task does not follow Gymnasium's interface.
        """
        num_envs = self.num_envs
        obs, final = (np.empty((num_envs, self._size), np.float32) for _ in range(2))
        rewards = np.empty(num_envs)
        terminated, truncated = (np.empty(num_envs, bool) for _ in range(2))
        infos: list[Mapping[str, Any]] = []
        for i, action in enumerate(actions):
            result = self._call(i, "step", action)
            if not isinstance(result, tuple) or len(result) != 5:
                raise self._mistake(i, "step", _wrong_step(result))
            last, reward, terminated[i], truncated[i] = result[0], result[1], *self._flags(i, result)
            obs[i] = final[i] = self._row(i, "step", last)
            rewards[i] = reward if isinstance(reward, float) else self._number(i, reward)
            infos.append(result[4] if isinstance(result[4], Mapping) else {})
            if terminated[i] or truncated[i]:
                obs[i] = self._reset(i, {})
        return Step(obs, rewards, terminated, truncated, final, infos)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the copies; one that fails is reported once and ends nothing."""
        failures: list[BaseException] = []
        for env in getattr(self, "envs", ()):
            try:
                env.close(**kwargs)
            except (Exception, SystemExit) as error:  # a task's own code; nothing after it depends on it
                failures.append(error)
        if failures:
            first = f"{type(failures[0]).__name__}: {one_line(failures[0])}"
            logger.warning("Closing %s failed (%s). Nothing that was trained is lost.", self._task, first)

    def _reset(self, env: int, options: dict[str, Any]) -> np.ndarray:
        result = self._call(env, "reset", **options)
        if not isinstance(result, tuple) or len(result) != 2:
            problem = (
                f"returned {_described(result)} instead of (observation, info). Gymnasium's interface is {_RESET}."
            )
            raise self._mistake(env, "reset", problem)
        return self._row(env, "reset", result[0])

    def _call(self, env: int, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call an environment's method; explain Gymnasium's errors, and note for the task's own where they happened."""
        try:
            return getattr(self.envs[env], method)(*args, **kwargs)
        except (Exception, SystemExit) as error:
            if (problem := _interface_problem(error, method)) is not None:
                raise self._mistake(env, method, problem) from error
            self.note(method, env, error)
            raise

    def note(self, method: str, env: int, error: BaseException) -> None:
        """Add to a task's own exception where it happened."""
        error.add_note(f"Raised by {method}() of task {self._task!r} in environment {env}, {self._time(env)}.")

    def _row(self, env: int, method: str, obs: Any) -> np.ndarray:
        """Return an observation as float32 ``[O]``; larger numbers become infinite, and are then found as faults."""
        try:
            with np.errstate(over="ignore"):
                row = np.asarray(obs, dtype=np.float32)
        except (TypeError, ValueError):
            row = None
        if row is None or row.shape != (self._size,):
            found = type(obs).__name__ if row is None else f"shape {row.shape}"
            problem = (
                f"returned an observation of {found}, but observation_space is {self.single_observation_space}. "
                "Return what the space says, or correct the space."
            )
            raise self._mistake(env, method, problem)
        return row

    def _number(self, env: int, value: Any) -> float:
        try:
            array = np.asarray(value)
            if array.size == 1 and array.dtype.kind in "biuf":
                return float(array.item())
        except (TypeError, ValueError):  # a tensor of another device, or a ragged list
            pass
        problem = f"returned {_described(value)} as its reward. Return one number, as float(reward)."
        raise self._mistake(env, "step", problem)

    def _flags(self, env: int, result: tuple[Any, ...]) -> tuple[bool, bool]:
        flags = []
        for name, value in zip(("terminated", "truncated"), result[2:4], strict=True):
            flag = value if isinstance(value, bool) else np.asarray(value)
            if not isinstance(flag, bool) and (flag.size != 1 or flag.dtype.kind not in "biu"):
                problem = f"returned {_described(value)} as {name}. Return one bool, as bool({name})."
                raise self._mistake(env, "step", problem)
            flags.append(bool(flag))
        return flags[0], flags[1]

    def _mistake(self, env: int, method: str, problem: str) -> ConfigError:
        where = f"{method}() of environment {env}, {self._time(env)}"
        return ConfigError(f"Task {self._task!r}: {where}, {problem}")


def _interface_problem(error: BaseException, method: str) -> str | None:
    """Return what a task does differently than Gymnasium asks if that explains an error, else None."""
    if isinstance(error, TypeError) and (found := _UNKNOWN_ARGUMENT.search(str(error))) is not None:
        return f"does not take {found[1]!r}. Gymnasium's interface is {_RESET}."
    if not raised_by_gymnasium(error):
        return None
    if method == "step" and isinstance(error, ValueError) and "unpack" in str(error):
        return _wrong_step(None)
    # its checks assert, and fail otherwise for values that they do not expect
    return f"breaks Gymnasium's interface: {one_line(error)}"


def _wrong_step(result: Any) -> str:
    found = "another number of values" if result is None else _described(result)
    return (
        f"returned {found} instead of (observation, reward, terminated, truncated, info). The four values of old Gym "
        "count a time limit as done: return terminated and truncated apart."
    )


def _described(value: Any) -> str:
    """Return type and size of a value that a task returned."""
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__}" + (f" of shape {tuple(shape)}" if shape is not None else f" {one_line(value, 40)}")
