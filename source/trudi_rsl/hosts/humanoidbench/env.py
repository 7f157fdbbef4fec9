# SPDX-License-Identifier: BSD-3-Clause
"""HumanoidBench's tasks as RSL-RL environments, with reproducible episodes and success."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.hosts.gymnasium.make import make_env
from trudi_rsl.hosts.gymnasium.observations import announce
from trudi_rsl.hosts.humanoidbench.package import missing_file, readable_model, require_supported

MEGABYTES_PER_ENV = 77
"""Memory of one environment, measured for h1hand-walk-v0 with 64 of them."""
MANY_ENVS = 32
"""Number of environments from which their memory is worth a message."""
SUBTASKS = "success_subtasks"
"""Entry of ``info``: the number of subtasks that an episode has completed."""
SUCCESS_BAR = "above_success_bar"
"""Entry of ``info`` in the last step of an episode: whether its return reaches the task's ``success_bar``."""


class HumanoidBenchVecEnv(GymnasiumVecEnv):
    """E copies of a HumanoidBench task; arguments, attributes and errors are those of the base class.

    In addition to the base class:

    - tasks draw goals and objects from generators of their own, which ``seed`` seeds and checkpoints contain, instead
      of NumPy's global one;
    - ``extras["success"]`` is the task's own flag, or, for a task without one, whether the return reached the task's
      ``success_bar``;
    - ``extras["metrics"]`` has :data:`SUBTASKS` where a task reports it, and :data:`SUCCESS_BAR`.
    """

    metrics = (SUBTASKS, SUCCESS_BAR)

    def __init__(self, task: str, num_envs: int, **options: Any) -> None:
        task = task.removeprefix("humanoid_bench:")
        require_supported(task)
        if isinstance(num_envs, int) and num_envs >= MANY_ENVS:
            announce(
                f"HumanoidBench takes about {MEGABYTES_PER_ENV} MB per environment: {num_envs} environments take "
                f"about {num_envs * MEGABYTES_PER_ENV / 1000:.0f} GB. --num_envs sets another number."
            )
        super().__init__(task, num_envs, **options)

    def _make_env(self, task: str, **options: Any) -> gym.Env:
        """See :meth:`GymnasiumVecEnv._make_env`; an incomplete copy of HumanoidBench is an ImportError."""
        env_kwargs = dict(options.pop("env_kwargs", None) or {})
        with readable_model(task) as model:
            if model is not None:
                env_kwargs.setdefault("model_path", str(model))
            try:
                # Tasks without randomness print so in their constructors, once for each environment.
                with contextlib.redirect_stdout(io.StringIO()):
                    return Episodes(make_env(task, env_kwargs=env_kwargs, **options))
            except (ConfigError, ValueError) as error:
                if (file := missing_file(error)) is not None:
                    raise ImportError(
                        f"Task {task!r} needs {file}, which this copy of HumanoidBench lacks. Clone it again."
                    ) from error
                raise


class Episodes(gym.Wrapper):
    """Runs the episodes of one HumanoidBench environment with random numbers of their own, and judges them.

    HumanoidBench's tasks draw goals and objects from NumPy's global generator, at resets only. Here each environment
    has a generator that takes the place of the global one during its resets.

    Args:
        env: An environment with HumanoidBench's ``HumanoidEnv`` at its core.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        core: Any = env.unwrapped
        self._random = np.random.RandomState()
        self._return = 0.0
        self._success_bar: float | None = getattr(core.task.unwrapped, "success_bar", None)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; a seed also seeds the generator of goals and objects."""
        if seed is not None:
            self._random = np.random.RandomState(np.random.MT19937(seed))
        self._return = 0.0
        with _as_global(self._random):
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; the last ``info`` of an episode has :data:`SUCCESS_BAR` and ``success``."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        if (terminated or truncated) and self._success_bar is not None:
            reached = self._return >= self._success_bar
            info = {"success": reached, **info, SUCCESS_BAR: reached}
        return obs, reward, terminated, truncated, info


@contextlib.contextmanager
def _as_global(generator: np.random.RandomState) -> Iterator[None]:
    """Let NumPy's global generator continue the sequence of another one, and its own afterwards."""
    own = np.random.get_state()
    np.random.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(np.random.get_state())
        np.random.set_state(own)
