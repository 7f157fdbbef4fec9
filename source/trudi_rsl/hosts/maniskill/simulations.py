# SPDX-License-Identifier: BSD-3-Clause
"""ManiSkill's simulations of E environments: one for each on a CPU, one for all on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
import torch

from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.gymnasium.make import action_limits
from trudi_rsl.hosts.maniskill.make import TaskOptions, make_simulation, quiet, time_limit

Array = Any
"""A NumPy array from simulations on CPUs, a tensor on its device from one on a GPU."""


class Step(NamedTuple):
    """What the simulations return for one action of each environment; nothing is reset."""

    obs: Array
    """``[E, O]``."""
    rewards: Array
    """``[E]``."""
    terminated: Array
    """Whether the task has succeeded or failed, bool ``[E]``."""
    truncated: Array
    """Whether the time limit is reached, bool ``[E]``."""
    success: Array | None
    """Bool ``[E]``; None if the task does not report it."""
    fail: Array | None
    """Bool ``[E]``; None if the task does not report it."""


class Layout(NamedTuple):
    """Sizes and times of a task's environments."""

    num_obs: int
    action_low: np.ndarray
    """``[A]``, in the controller's units."""
    action_high: np.ndarray
    max_episode_steps: int
    step_dt: float
    """Simulated seconds per action."""


class Simulations(Protocol):
    """E environments that are stepped together and reset one by one."""

    layout: Layout

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> Array:
        """Start a new episode in some environments and return their observations ``[K, O]``."""
        ...

    def step(self, actions: Array) -> Step:
        """Step all environments with actions ``[E, A]`` inside the bounds."""
        ...

    def set_lengths(self, lengths: Sequence[int]) -> None:
        """Set the steps that the time limit has counted, ``[E]``."""
        ...

    def render(self) -> np.ndarray:
        """Return an image ``[height, width, 3]`` of environment 0, uint8."""
        ...

    def close(self) -> None:
        """Close the simulators."""
        ...


class CpuSimulations:
    """One simulation per environment, in this process: PhysX on a CPU has no batches.

    Args:
        options: Checked options of the task.
        num_envs: E.
        render_mode: ManiSkill's render mode of environment 0.
    """

    @torch.inference_mode(False)
    def __init__(self, options: TaskOptions, num_envs: int, render_mode: str | None = None) -> None:
        first = make_simulation(options, render_mode=render_mode)
        with quiet():
            self._envs = [first, *(make_simulation(options) for _ in range(num_envs - 1))]
        self.layout = _layout(first, options)

    # Tensors that a simulation keeps must not be inference tensors, which could not be updated outside of the inference
    # mode in which RSL-RL's runner steps.
    @torch.inference_mode(False)
    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
        """Start new episodes, each determined by its seed, and return their observations ``[K, O]``."""
        return np.stack([_vector(self._envs[i].reset(seed=seed)[0]) for i, seed in zip(indices, seeds, strict=True)])

    @torch.inference_mode(False)
    def step(self, actions: np.ndarray) -> Step:
        """Step all environments with actions ``[E, A]`` inside the bounds."""
        rows = [env.step(action) for env, action in zip(self._envs, actions, strict=True)]
        obs, rewards, terminated, truncated, infos = zip(*rows, strict=True)
        return Step(
            np.stack([_vector(o) for o in obs]),
            np.array([float(reward) for reward in rewards], dtype=np.float32),
            np.array([bool(flag) for flag in terminated]),
            np.array([bool(flag) for flag in truncated]),
            *(np.array([bool(i[key]) for i in infos]) if key in infos[0] else None for key in ("success", "fail")),
        )

    @torch.inference_mode(False)
    def replay(
        self, seeds: Sequence[int], offsets: Sequence[int], counts: Sequence[int], actions: np.ndarray
    ) -> np.ndarray:
        """Repeat the running episodes and return their present observations ``[E, O]``.

        PhysX's state cannot be restored bitwise, but on a CPU the same seed and actions lead to the same state.

        Args:
            seeds: Seeds of the episodes ``[E]``.
            offsets: Steps that the time limits had counted at their starts ``[E]``.
            counts: Steps taken in each ``[E]``.
            actions: The last T actions of each environment ``[E, T, A]``, T at least the largest count.
        """
        last = []
        for env, seed, offset, count, past in zip(self._envs, seeds, offsets, counts, actions, strict=True):
            obs, _ = env.reset(seed=int(seed))
            _elapsed_steps(env).fill_(int(offset))
            for action in past[len(past) - count :]:
                obs = env.step(action)[0]
            last.append(_vector(obs))
        return np.stack(last)

    @torch.inference_mode(False)
    def set_lengths(self, lengths: Sequence[int]) -> None:
        """Set the steps that the time limit has counted, ``[E]``."""
        for env, length in zip(self._envs, lengths, strict=True):
            _elapsed_steps(env).fill_(int(length))

    def render(self) -> np.ndarray:
        """Return an image ``[height, width, 3]`` of environment 0, uint8."""
        return _image(self._envs[0])

    def close(self) -> None:
        """Close the simulators."""
        for env in self._envs:
            env.close()


class GpuSimulation:
    """One simulation of all environments on a GPU, by ManiSkill's documented interface.

    Has not been run on a GPU by the tests, which use it with one environment on the CPU.

    Args:
        options: Checked options of the task.
        num_envs: E.
        render_mode: ManiSkill's render mode.
    """

    @torch.inference_mode(False)
    def __init__(self, options: TaskOptions, num_envs: int, render_mode: str | None = None) -> None:
        self._env = make_simulation(options, num_envs, render_mode)
        self._num_envs = num_envs
        self.layout = _layout(self._env, options)

    @torch.inference_mode(False)
    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
        """Start new episodes and return their observations ``[K, O]``; the seeds determine them together."""
        if len(indices) == self._num_envs:
            obs, _ = self._env.reset(seed=list(seeds))  # pyright: ignore[reportArgumentType]
            return obs.reshape(self._num_envs, -1)
        # Seeds in a partial reset would replace those of the running episodes. Without, a reset draws from torch's
        # global generator, from which the policy draws, too.
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seeds[0])
            obs, _ = self._env.reset(options={"env_idx": torch.tensor(indices, device=_device(self._env))})
        return obs.reshape(self._num_envs, -1)[list(indices)]

    @torch.inference_mode(False)
    def step(self, actions: torch.Tensor) -> Step:
        """Step all environments with actions ``[E, A]`` inside the bounds."""
        obs, rewards, terminated, truncated, info = self._env.step(actions.clone())
        flags = (info.get("success"), info.get("fail"))
        return Step(obs.reshape(self._num_envs, -1), rewards, terminated, truncated, *flags)

    @torch.inference_mode(False)
    def set_lengths(self, lengths: Sequence[int]) -> None:
        """Set the steps that the time limit has counted, ``[E]``."""
        elapsed = _elapsed_steps(self._env)
        elapsed.copy_(torch.tensor(lengths, device=elapsed.device))

    def render(self) -> np.ndarray:
        """Return an image ``[height, width, 3]`` of environment 0, uint8."""
        return _image(self._env)

    def close(self) -> None:
        """Close the simulator."""
        self._env.close()


def _layout(env: gym.Env, options: TaskOptions) -> Layout:
    low, high = action_limits(env.get_wrapper_attr("single_action_space"), options.task, options.action_bounds)
    if (limit := time_limit(env)) is None:
        raise ConfigError(f"Task {options.task!r} has no time limit; set one with env.max_episode_steps.")
    space, frequency = env.get_wrapper_attr("single_observation_space"), env.get_wrapper_attr("control_freq")
    return Layout(int(np.prod(space.shape)), low, high, limit, 1.0 / frequency)


def _device(env: gym.Env) -> torch.device:
    return env.get_wrapper_attr("device")


def _elapsed_steps(env: gym.Env) -> torch.Tensor:
    """Return the counter ``[E]`` that ManiSkill's time limit reads, to be changed in place."""
    return env.get_wrapper_attr("elapsed_steps")


def _vector(obs: torch.Tensor) -> np.ndarray:
    return obs.reshape(-1).numpy(force=True).astype(np.float32, copy=True)


def _image(env: gym.Env) -> np.ndarray:
    frames: Any = env.render()
    return (frames[0] if frames.ndim == 4 else frames).numpy(force=True)
