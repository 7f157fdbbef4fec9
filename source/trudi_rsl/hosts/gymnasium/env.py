# SPDX-License-Identifier: BSD-3-Clause
"""Gymnasium tasks as RSL-RL environments."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from trudi_rsl.packages import how_to_install

try:
    import gymnasium as gym
    from gymnasium.vector import AutoresetMode  # noqa: F401  new in gymnasium 1.1
except ImportError as error:
    raise ImportError(f"Gymnasium's tasks need gymnasium 1.2 or newer. {how_to_install()}") from error

from trudi_rsl.environments.description import control_period
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.evaluation.episodes import NO_TIME_LIMIT
from trudi_rsl.hosts.gymnasium.batched import make_vector
from trudi_rsl.hosts.gymnasium.faults import Faults
from trudi_rsl.hosts.gymnasium.make import action_limits, make_copies, make_env, try_options
from trudi_rsl.hosts.gymnasium.observations import ImageMode, ObservationLayout, ObservationMode
from trudi_rsl.hosts.gymnasium.plain import generator_state, set_generator
from trudi_rsl.hosts.gymnasium.rehearsal import Rehearsal
from trudi_rsl.hosts.gymnasium.state import SimulatorStates, episode_limit, refuse_learned_statistics, time_limits
from trudi_rsl.hosts.gymnasium.success import EpisodeSuccess, last_numbers
from trudi_rsl.hosts.gymnasium.vector import TaskVector

logger = logging.getLogger(__name__)


class EnvCfg(dict):
    """A dict with the method that RSL-RL's Weights & Biases and Neptune writers call."""

    def to_dict(self) -> dict[str, Any]:
        """Return a plain copy."""
        return dict(self)


class GymnasiumVecEnv(VecEnv):
    """E copies of a Gymnasium task, stepped together, with observations ``[O]`` and actions ``[A]``.

    Supports every registered id whose observation space is a Box of any shape, or a Dict or Tuple of such spaces and
    discrete ones, and whose action space is a 1-D Box of floats. Observations are a TensorDict ``{"policy": [E, O]}``
    of float32 or, with ``obs="groups"``, have a group for each entry of the task's Dict or Tuple; images are groups of
    their own, ``[E, C, H, W]`` in their own types. The step that ends an episode returns the first observation of the
    next episode.

    Beside those of :class:`rsl_rl.env.VecEnv`:

    Attributes:
        max_episode_length: The task's time limit in steps, or :data:`~trudi_rsl.evaluation.episodes.NO_TIME_LIMIT`.
        cfg: Arguments the environment was made from, for RSL-RL's log writers.
        task: The id the environment was made with.
        action_low: Lower action bound ``[A]``, float32, in the environment's units.
        action_high: Upper action bound ``[A]``.
        step_dt: Simulated seconds per step; None if the task has no ``dt``.
        restarts_faulty: Whether an environment that produces NaN or infinity is reset while the others go on. If
            False, the default, that is an error: a training run sets it, an evaluation must not hide such a fault.
    """

    metrics: tuple[str, ...] = ()
    """Names of numbers in the last ``info`` of an episode to log and evaluate; hosts over Gymnasium set it."""

    def __init__(
        self,
        task: str,
        num_envs: int,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        max_episode_steps: int | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        action_bounds: tuple[float, float] | None = None,
        obs: ObservationMode = "flatten",
        images: ImageMode = "auto",
        cfg: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the environments and start their first episodes.

        Args:
            task: A Gymnasium id, or ``module:Env-v0`` for an id that importing ``module`` registers.
            num_envs: Number of environments, at least 1.
            seed: Environment i is seeded with ``seed + i``.
            device: Device of observations, rewards and flags.
            max_episode_steps: Time limit in steps, at least 1; None keeps the task's own.
            env_kwargs: Options of the task's constructor.
            render_mode: Gymnasium's render mode; applies to environment 0 only.
            action_bounds: ``(low, high)`` of the action entries that the task leaves unbounded.
            obs: How the vectors of a Dict or Tuple observation form groups.
            images: The type of images: the task's, or float32, scaled to [0, 1].
            cfg: Further entries of :attr:`cfg`.

        Raises:
            ConfigError: A size, the task or an option is wrong, or a space is not supported.
            ImportError: A package that the task needs is missing.
        """
        for name, value in (("num_envs", num_envs), ("max_episode_steps", max_episode_steps)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} must be an integer of at least 1, not {value!r}.")
        options = {"max_episode_steps": max_episode_steps, "env_kwargs": env_kwargs}
        further: dict[str, Any] = {"action_bounds": action_bounds, "obs": obs, "images": images}
        self._make_alike = functools.partial(type(self), task, device=device, **further, **options)
        first = self._make_env(task, render_mode=render_mode, **options)
        self._layout = ObservationLayout(first.observation_space, task, obs, images)
        first = self._layout.wrap(first)

        def make() -> gym.Env:
            return self._layout.wrap(self._make_env(task, **options))

        self._low, self._high = action_limits(first.action_space, task, action_bounds)
        refuse_learned_statistics(first, task)
        if env_kwargs:
            try_options(task, env_kwargs, make)
        # subclasses that log numbers of ``info`` need the one of the task
        vector = TaskVector if self.metrics else make_vector
        self._vec = vector(task, make_copies(first, make, num_envs), self._time)
        self._simulators = SimulatorStates(self._vec.envs)
        self._rehearsal = Rehearsal(
            self._simulators, lambda: TaskVector(task, make_copies(make(), make, 2), lambda _: "in a copy")
        )
        self._reported_inexact = False
        self._time_limits = [time_limits(env) for env in self._vec.envs]
        self._render_mode = render_mode

        self.task = task
        self.step_dt = control_period(first.unwrapped, name="dt")
        self.num_envs = num_envs
        self.num_actions = len(self._low)
        self.device = torch.device(device)
        self.action_low = torch.tensor(self._low, dtype=torch.float32, device=self.device)
        self.action_high = torch.tensor(self._high, dtype=torch.float32, device=self.device)
        self._action_dtype = torch.from_numpy(self._low).dtype
        self.max_episode_length = episode_limit(first) or NO_TIME_LIMIT
        options |= {"max_episode_steps": self.max_episode_length, "env_kwargs": dict(env_kwargs or {})}
        self.cfg = EnvCfg(cfg or {}, task=task, num_envs=num_envs, seed=seed, **further, **options)

        # Per-environment state is NumPy: tensors created in RSL-RL's inference mode cannot be updated outside of it.
        self._obs = np.zeros((num_envs, self._layout.size), dtype=np.float32)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._episode_steps = np.zeros(num_envs, dtype=np.int64)
        self._episode_returns = np.zeros(num_envs)
        self.restarts_faulty = False
        self._faults = Faults(task, self._time)
        self._success = EpisodeSuccess(task, num_envs)
        self.seed(seed)

    @property
    def episode_length_buf(self) -> torch.Tensor:
        """Steps of each episode as counted by its time limit, ``[E]`` long; a copy, so assign to change it.

        Assigning values of at least 0 sets the counters of Gymnasium's ``TimeLimit`` wrappers, if there are any:
        RSL-RL's ``init_at_random_ep_len`` spreads the ends of the first episodes. An episode at its limit is truncated
        by the next step.
        """
        return torch.tensor(self._lengths, device=self.device)

    @episode_length_buf.setter
    def episode_length_buf(self, value: torch.Tensor) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if tuple(value.shape) != (self.num_envs,) or bool((value < 0).any()):
            found = f"shape {tuple(value.shape)}" + (f" with minimum {value.min()}" if value.numel() else "")
            raise ValueError(f"episode_length_buf must be {self.num_envs} numbers of at least 0, not {found}.")
        self._set_lengths(value.cpu().numpy())

    @property
    def default_obs_groups(self) -> dict[str, list[str]] | None:
        """Observation sets of actor and critic for ``agent.obs_groups``; None for RSL-RL's default."""
        return self._layout.default_sets

    def describe(self, groups: Sequence[str]) -> dict[str, Any]:
        """Return metadata of exports: ``obs_terms``, name and size of each part of the observation, in order.

        Empty for a task without a Dict, Tuple or array of several axes, of whose entries nothing is known.
        """
        terms = self._layout.terms(groups)
        return {"obs_terms": terms} if terms else {}

    @property
    def unwrapped(self) -> Any:
        """Gymnasium's vector environment."""
        return self._vec

    def seed(self, seed: int) -> int:
        """Seed environment i with ``seed + i``, reset all, since Gymnasium seeds at a reset, and return ``seed``."""
        self._vec.action_space.seed(seed)
        for i, env in enumerate(self._vec.envs):
            env.action_space.seed(seed + i)
        self._total_steps = 0
        self._restart(seed)
        return seed

    def reset(self) -> tuple[TensorDict, dict[str, Any]]:
        """Reset all environments without seeding; return observations ``{"policy": [E, O]}`` and empty extras."""
        self._restart(None)
        return self.get_observations(), {}

    def get_observations(self) -> TensorDict:
        """Return the current observations ``{"policy": [E, O]}``."""
        return self._tensordict(self._obs)

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Step every environment with actions ``[E, A]`` in its own units, clipped to its bounds.

        Returns:
            Observations ``{"policy": [E, O]}``, rewards ``[E]`` float32, dones ``[E]`` long (terminated or truncated),
            and extras, all but the first only if an episode ended:

            - ``"time_outs"``: ``[E]`` bool, truncated and not terminated.
            - ``"final_obs"``: ``{"policy": [E, O]}``, the last observation of ended episodes, else the current one.
            - ``"success"``: ``[E]`` float32, only if the task reports it in ``info``, see
              :class:`~trudi_rsl.hosts.gymnasium.success.EpisodeSuccess`; NaN where no episode ended.
            - ``"metrics"``: those of :attr:`metrics` that the task reports, by name, ``[E]`` float32; NaN where no
              episode ended.
            - ``"log"``: means over the ended episodes of ``"Episode/return"``, ``"Episode/length"`` (steps actually
              taken) and, if reported, ``"Episode/success"`` and those of :attr:`metrics`.

        Raises:
            NonFiniteError: The actions contain NaN or infinity, or the simulator returned them (see
                :attr:`restarts_faulty`).
            ConfigError: The task does not follow Gymnasium's interface.
            ValueError: ``actions`` has another shape.
        """
        clipped = self._clip(actions)
        self._rehearsal.before_step(self._lengths)
        step = self._vec.advance(clipped)
        self._total_steps += 1
        self._lengths += 1
        self._episode_steps += 1
        step = self._faults.filter_nonfinite(self._vec, step, self.restarts_faulty)
        self._rehearsal.after_step(clipped, step)
        self._episode_returns += step.rewards
        self._obs[:] = step.obs

        time_outs, dones = step.truncated & ~step.terminated, step.ended
        extras: dict[str, Any] = {"time_outs": torch.tensor(time_outs, device=self.device)}
        success = self._success.update(step.infos, dones)
        if dones.any():
            ended = np.flatnonzero(dones)
            extras["final_obs"] = self._tensordict(step.final_obs)
            extras["log"] = {
                "Episode/return": float(self._episode_returns[ended].mean()),
                "Episode/length": float(self._episode_steps[ended].mean()),
            }
            if success is not None:
                extras["success"] = torch.tensor(success, device=self.device)
                extras["log"]["Episode/success"] = float(np.nanmean(success))
            if found := {name: last_numbers(step.infos, dones, name) for name in self.metrics}:
                reported = {name: numbers for name, numbers in found.items() if numbers is not None}
                extras["metrics"] = {n: torch.tensor(numbers, device=self.device) for n, numbers in reported.items()}
                extras["log"] |= {f"Episode/{n}": float(np.nanmean(numbers)) for n, numbers in reported.items()}
            for counts in (self._lengths, self._episode_steps, self._episode_returns):
                counts[ended] = 0
        return (
            self._tensordict(self._obs),
            torch.tensor(step.rewards, dtype=torch.float32, device=self.device),
            torch.tensor(dones, dtype=torch.long, device=self.device),
            extras,
        )

    def render(self) -> Any:
        """Render environment 0, in ``rgb_array`` mode as an image ``[height, width, 3]`` of uint8.

        Raises:
            ConfigError: The environment was made without a render mode.
        """
        if self._render_mode is None:
            raise ConfigError(f"{self.task} was made without a render mode. Make it with render_mode='rgb_array'.")
        return self._vec.envs[0].render()

    def alike(self, num_envs: int, seed: int) -> GymnasiumVecEnv:
        """Make further environments of the same task; a subclass with other constructor arguments must override this.

        Raises:
            ConfigError: The task has no time limit, so its episodes may never end.
        """
        if self.max_episode_length == NO_TIME_LIMIT:
            raise ConfigError(f"{self.task} has no time limit; set one with env.max_episode_steps")
        return self._make_alike(num_envs=num_envs, seed=seed)

    def close(self) -> None:
        """Close the simulators. Closing twice does nothing."""
        self._vec.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the running episodes, so that a resumed run continues them exactly.

        For MuJoCo tasks, ``load_state_dict`` in another process followed by the same actions produces bitwise the same
        observations, rewards and dones as an uninterrupted run, and ``"exact"`` is True; :class:`Rehearsal` has tried
        it. For other simulators, and where a task keeps what cannot be stored (logged once), ``"exact"`` is False and
        loading starts new episodes. All values are tensors or plain Python.
        """
        content, left_out = self._simulators.save()
        why = None
        if left_out:
            listed = ", ".join(f"{name} ({kind})" for name, kind in list(left_out.items())[:3])
            why = f"no checkpoint can hold {listed}{' and more' if len(left_out) > 3 else ''}"
        elif self._simulators.readable:
            why = self._rehearsal.failure()
        if why is not None:
            if not self._reported_inexact:
                self._reported_inexact = True
                logger.warning("%s: a resume will not be exact, and starts new episodes: %s.", self.task, why)
            content["simulators"] = None
        return {
            "task": self.task,
            "num_envs": self.num_envs,
            "exact": content["simulators"] is not None,
            "inexact_because": why,
            "total_steps": self._total_steps,
            "lengths": torch.tensor(self._lengths),
            "episode_steps": torch.tensor(self._episode_steps),
            "episode_returns": torch.tensor(self._episode_returns),
            "observations": torch.tensor(self._obs),
            "success": torch.tensor(np.nan_to_num(self._success.so_far, nan=-1.0)),  # NaN would equal no other state
            "vector_generator": generator_state(self._vec.action_space.np_random),
            **content,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the episodes saved by :meth:`state_dict`; if that is impossible, warn and start new ones.

        Raises:
            CheckpointError: The state belongs to another task or simulation model.
        """
        if state["task"] != self.task:
            raise CheckpointError(f"The environment state is of task {state['task']!r}, not of {self.task!r}.")
        if state["num_envs"] != self.num_envs:
            why = f"the state is of {state['num_envs']} environments, not {self.num_envs}"
        else:
            set_generator(self._vec.action_space.np_random, state["vector_generator"])
            why = self._simulators.load(state)
            why = why and (state.get("inexact_because") or why)
        if why is not None:
            warnings.warn(f"{self.task} starts new episodes: {why}.", stacklevel=2)
            self._restart(None)
        else:
            self._set_lengths(state["lengths"].cpu().numpy())
            self._episode_steps[:] = state["episode_steps"].cpu().numpy()
            self._episode_returns[:] = state["episode_returns"].cpu().numpy()
            self._obs[:] = state["observations"].cpu().numpy()
            self._success.forget()
            if "success" in state:  # not in states of earlier versions
                saved = state["success"].cpu().numpy()
                self._success.so_far[:] = np.where(saved < 0.0, np.nan, saved)
        self._total_steps = state["total_steps"]

    def _make_env(self, task: str, **options: Any) -> gym.Env:
        """Make one environment; a host over Gymnasium overrides it. Options and errors are those of ``make_env``."""
        return make_env(task, **options)

    def _restart(self, seed: int | None) -> None:
        self._rehearsal.interrupt()
        self._obs[:] = self._vec.start(seed)
        for counts in (self._lengths, self._episode_steps, self._episode_returns):
            counts[:] = 0
        self._success.forget()
        self._faults.require_finite(self._obs, "the simulator's observation")

    def _set_lengths(self, lengths: np.ndarray) -> None:
        self._rehearsal.interrupt()
        self._lengths[:] = lengths
        for limits, length in zip(self._time_limits, self._lengths.tolist(), strict=True):
            for limit in limits:
                limit._elapsed_steps = length

    def _clip(self, actions: torch.Tensor) -> np.ndarray:
        expected = (self.num_envs, self.num_actions)
        if tuple(actions.shape) != expected:
            raise ValueError(f"{self.task} takes actions of shape {expected}, not {tuple(actions.shape)}.")
        values = actions.detach().to("cpu", self._action_dtype).numpy()
        self._faults.require_finite(values, "the policy's action")
        return np.clip(values, self._low, self._high)

    def _time(self, env: int) -> str:
        return f"{self._episode_steps[env]} steps into its episode and {self._total_steps} since the start"

    def _tensordict(self, obs: np.ndarray) -> TensorDict:
        """Copy ``[E, O]`` to the device as groups, so that later steps do not change a returned tensor."""
        groups = {name: torch.tensor(part, device=self.device) for name, part in self._layout.split(obs).items()}
        return TensorDict(groups, batch_size=[self.num_envs], device=self.device)
