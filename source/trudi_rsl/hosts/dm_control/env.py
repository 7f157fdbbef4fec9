# SPDX-License-Identifier: BSD-3-Clause
"""Tasks of dm_control's suite as RSL-RL environments."""

from __future__ import annotations

import functools
import importlib.metadata
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict

from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.hosts.gymnasium.make import make_env, use_headless_rendering

EPISODE_STEPS = 1000
"""Length of an episode of every task of the suite."""
WORKING_PAIR = '"dm_control==1.0.50" "mujoco==3.17.0"'
"""Versions that work together; each dm_control reads fields of MuJoCo that other versions of it do not have."""
UNBOUNDED = 1e10
"""MuJoCo's ``mjMAXVAL``, with which dm_control marks actuators without limits."""


@functools.cache
def import_suite() -> Any:
    """Return ``dm_control.suite``, after loading a task, since fields that MuJoCo lacks are missed only then.

    Raises:
        ImportError: It does not work with the installed MuJoCo, or a package is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GLFW's, on a machine without display
            from dm_control import suite  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

            suite.load("cartpole", "balance").close()
    except Exception as error:  # an AttributeError where MuJoCo lacks a field
        raise ImportError(_version_advice(error)) from error
    return suite


def suite_tasks() -> list[str]:
    """Return the names of all tasks of the suite, as ``walker-run``."""
    return sorted(f"{domain}-{task}" for domain, task in import_suite().ALL_TASKS)


def _version_advice(error: Exception) -> str:
    versions = " with ".join(f"{name} {importlib.metadata.version(name)}" for name in ("dm_control", "mujoco"))
    return (
        f"{versions} does not work ({type(error).__name__}: {error}). Use a pair that does: pip install {WORKING_PAIR}"
    )


class DmControlVecEnv(GymnasiumVecEnv):
    """E copies of a task of dm_control's suite; arguments, attributes and errors are those of the base class.

    Observations are dm_control's dictionary in dm_control's order. Episodes are cut after ``max_episode_steps``, 1000
    by default, and end before that only in tasks that terminate. ``env_kwargs`` are arguments of the task's function in
    the suite, such as ``environment_kwargs``.
    """

    def _make_env(self, task: str, **options: Any) -> gym.Env:
        """See :meth:`GymnasiumVecEnv._make_env`."""
        if options.get("render_mode") is not None:
            use_headless_rendering()
        if task not in (names := suite_tasks()):
            raise ConfigError(f"dm_control has no task {task!r}. {nearest(task, names)}")
        domain, _, name = task.partition("-")
        spec = EnvSpec(
            f"dm_control/{task}-v0",
            entry_point=SuiteTask,
            kwargs={"domain": domain, "task": name},
            max_episode_steps=EPISODE_STEPS,
        )
        return make_env(task, spec=spec, **options)


class SuiteTask(gym.Env):
    """A task of dm_control's suite as a Gymnasium environment without a time limit.

    Its episodes equal those of ``suite.load(domain, task, {"random": seed})`` after ``reset(seed=seed)``.

    Args:
        domain: The model, such as ``walker``.
        task: The task in it, such as ``run``.
        render_mode: ``rgb_array`` or None.
        size: Height and width of rendered images.
        camera: Number of the camera.
        task_kwargs: Arguments of the task's function in the suite.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        domain: str,
        task: str,
        render_mode: str | None = None,
        size: tuple[int, int] = (480, 480),
        camera: int = 0,
        **task_kwargs: Any,
    ) -> None:
        # Without dm_control's own time limit, which hides a termination in the last step.
        limits = {"time_limit": float("inf"), "random": 0}
        self._env = import_suite().load(domain, task, task_kwargs=limits | task_kwargs)
        self.render_mode, self._size, self._camera = render_mode, size, camera
        actions = self._env.action_spec()
        low, high = (
            np.where(np.abs(end) >= UNBOUNDED, np.sign(end) * np.inf, end) for end in (actions.minimum, actions.maximum)
        )
        self.action_space = Box(low, high, actions.shape, np.float64)
        # A sequence of pairs keeps dm_control's order; a mapping would be sorted.
        entries = self._env.observation_spec().items()
        self.observation_space = Dict(
            [(name, Box(-np.inf, np.inf, entry.shape, entry.dtype)) for name, entry in entries]
        )

    @property
    def model(self) -> Any:
        """MuJoCo's model."""
        return self._env.physics.model.ptr

    @property
    def data(self) -> Any:
        """MuJoCo's data."""
        return self._env.physics.data.ptr

    @property
    def dt(self) -> float:
        """Seconds per step."""
        return float(self._env.control_timestep())

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; a seed, modulo 2^32, also seeds the task's generator."""
        super().reset(seed=seed, options=options)
        if seed is not None:
            self._env.task.random.seed(seed % 2**32)
        return _arrays(self._env.reset().observation), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Step; a discount of 0 at the end of an episode is a termination, any other a truncation."""
        result = self._env.step(action)
        terminated = result.last() and result.discount == 0.0
        return _arrays(result.observation), float(result.reward), terminated, result.last() and not terminated, {}

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return an image ``[height, width, 3]`` of uint8."""
        height, width = self._size
        return self._env.physics.render(height, width, self._camera)

    def close(self) -> None:
        """Free the model."""
        self._env.close()


def _arrays(observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return an observation with arrays in place of single numbers."""
    return {name: np.asarray(value) for name, value in observation.items()}
