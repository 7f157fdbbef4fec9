# SPDX-License-Identifier: BSD-3-Clause
"""ManiSkill3's tasks as RSL-RL environments."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.errors import CheckpointError, ConfigError, nearest
from trudi_rsl.hosts.faults import RestartedFaults, faulty_rows, require_finite
from trudi_rsl.hosts.gymnasium.env import EnvCfg
from trudi_rsl.hosts.maniskill.backends import choose_backend, choose_workers, simulate
from trudi_rsl.hosts.maniskill.description import describe
from trudi_rsl.hosts.maniskill.make import CPU, OBS_MODE, TaskOptions
from trudi_rsl.hosts.maniskill.simulations import Step

ON_SUCCESS = ("bootstrap", "terminate", "ignore")


class ManiSkillVecEnv(VecEnv):
    """E copies of a ManiSkill task with state observations ``[O]`` and actions ``[A]``.

    On a CPU, each environment has a simulation of its own, shared out to this process and workers if there are many;
    on a GPU, one simulation has them all. Observations are a TensorDict ``{"policy": [E, O]}`` of float32, all numbers
    of ManiSkill's ``state_dict`` in its order. The actions of several robots are one vector, in the order of the
    robots' names. The step that ends an episode returns the first observation of the next episode.

    Each episode has a seed that depends on the environment's seed, its index and the number of the episode, and on
    nothing else; on a GPU, episodes that start in the same step share one.

    Attributes:
        max_episode_length: The task's time limit in steps.
        cfg: Arguments the environment was made from, for RSL-RL's log writers.
        task: The name the environment was made with.
        action_low: Lower action bound ``[A]``, float32, in the controller's units.
        action_high: Upper action bound ``[A]``.
        step_dt: Simulated seconds per step.
        num_workers: Number of processes that simulate; 1 is this one.
        restarts_faulty: Whether an environment that produces NaN or infinity is reset while the others go on. If
            False, the default, that is an error: a training run sets it, an evaluation must not hide such a fault.
    """

    def __init__(
        self,
        task: str,
        num_envs: int,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        sim_backend: str = "auto",
        obs_mode: str = OBS_MODE,
        reward_mode: str | None = None,
        control_mode: str | None = None,
        on_success: str = "bootstrap",
        max_episode_steps: int | None = None,
        workers: int | str = "auto",
        env_kwargs: Mapping[str, Any] | None = None,
        action_bounds: tuple[float, float] | None = None,
        render_mode: str | None = None,
        cfg: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the environments and start their first episodes.

        Args:
            task: A name in ManiSkill's registry, or ``module:Name-v1`` for one that importing ``module`` registers.
            num_envs: Number of environments, at least 1.
            seed: Environment i has the seed ``seed + i``.
            device: Device of observations, rewards and flags.
            sim_backend: ``physx_cpu``, ``physx_cuda``, or ``auto``, which is that of ``device``.
            obs_mode: ManiSkill's observation mode; supported is ``state``.
            reward_mode: ManiSkill's reward mode; None takes the first of ``normalized_dense``, ``dense`` and
                ``sparse`` that the task has.
            control_mode: Controller of the robot; None takes the task's own.
            on_success: What success does to an episode. ``bootstrap``, the protocol of the TruDi paper's authors: it
                ends as by a time limit, and the learner bootstraps, so that reaching the goal does not cost the rewards
                after it. ``terminate``: it ends for good. ``ignore``: it goes on to the time limit. A failure always
                ends it for good.
            max_episode_steps: Time limit in steps, at least 1; None keeps the task's own.
            workers: Processes that simulate on the CPU, this one included, at most E; ``auto`` takes one per core for
                16 environments or more, and this process alone for fewer.
            env_kwargs: Further options of the task's constructor.
            action_bounds: ``(low, high)`` of the action entries that the controller leaves unbounded.
            render_mode: ManiSkill's render mode, of environment 0.
            cfg: Further entries of :attr:`cfg`.

        Raises:
            ConfigError: A size, the task or an option is wrong or not supported, or there is no Vulkan device.
        """
        for name, value in (("env.num_envs", num_envs), ("env.max_episode_steps", max_episode_steps)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} must be an integer of at least 1, not {value!r}.")
        if on_success not in ON_SUCCESS:
            raise ConfigError(f"Unknown env.on_success={on_success}. {nearest(on_success, ON_SUCCESS)}")
        self.device = torch.device(device)
        backend = choose_backend(sim_backend, self.device)
        self.num_workers = choose_workers(workers, num_envs, backend)
        chosen: dict[str, Any] = {"reward_mode": reward_mode, "control_mode": control_mode}
        chosen |= {"obs_mode": obs_mode, "max_episode_steps": max_episode_steps, "action_bounds": action_bounds}
        options = TaskOptions(task, backend, env_kwargs=dict(env_kwargs or {}), **chosen).checked()
        chosen |= {"env_kwargs": dict(env_kwargs or {}), "on_success": on_success, "sim_backend": sim_backend}
        self._make_alike = functools.partial(type(self), task, device=device, **chosen)
        self._simulations = simulate(options, num_envs, self.num_workers, render_mode)
        self._options, self._on_success, self._render_mode = options, on_success, render_mode

        layout = self._simulations.layout
        self.task, self.num_envs, self.num_actions = task, num_envs, len(layout.action_low)
        self.action_low = torch.tensor(layout.action_low, dtype=torch.float32, device=self.device)
        self.action_high = torch.tensor(layout.action_high, dtype=torch.float32, device=self.device)
        self.max_episode_length, self.step_dt = layout.max_episode_steps, layout.step_dt
        chosen |= {"reward_mode": options.reward_mode, "max_episode_steps": self.max_episode_length}
        self.cfg = EnvCfg(cfg or {}, task=task, num_envs=num_envs, seed=seed, workers=self.num_workers, **chosen)
        self.restarts_faulty = False
        self._faults = RestartedFaults(task, self._time)
        self.seed(seed)

    # -- RSL-RL's interface -------------------------------------------------------------------------------------------

    @property
    def episode_length_buf(self) -> Tensor:
        """Steps of each episode as counted by its time limit, ``[E]`` long; a copy, so assign to change it.

        Assigned values of at least 0 spread the ends of the first episodes (RSL-RL's ``init_at_random_ep_len``). An
        episode at its limit is truncated by the next step.
        """
        return (self._offsets + self._episode_steps).clone()

    @episode_length_buf.setter
    def episode_length_buf(self, value: Tensor) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if tuple(value.shape) != (self.num_envs,) or bool((value < 0).any()):
            found = f"shape {tuple(value.shape)}" + (f" with minimum {value.min()}" if value.numel() else "")
            raise ValueError(f"episode_length_buf must be {self.num_envs} numbers of at least 0, not {found}.")
        lengths = value.detach().to(self.device, torch.long)
        self._offsets = lengths - self._episode_steps
        self._simulations.set_lengths(lengths.tolist())

    @property
    def unwrapped(self) -> ManiSkillVecEnv:
        """This object: ManiSkill's environments may be in other processes."""
        return self

    def seed(self, seed: int) -> int:
        """Seed environment i with ``seed + i``, start its first episode, and return ``seed``."""
        self._seed, self._total_steps = seed, 0
        self._episodes = np.full(self.num_envs, -1)
        self.reset()
        return seed

    def reset(self) -> tuple[TensorDict, dict[str, Any]]:
        """Start new episodes everywhere; return observations ``{"policy": [E, O]}`` and empty extras."""
        self._episode_steps = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self._offsets, self._returns = self._episode_steps, torch.zeros(self.num_envs, device=self.device)
        self._succeeded = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._past: list[np.ndarray] = []
        self._obs = self._begin(range(self.num_envs))
        require_finite(self._obs, "the simulator's observation", self.task, self._time)
        return self.get_observations(), {}

    def get_observations(self) -> TensorDict:
        """Return the current observations ``{"policy": [E, O]}``."""
        return self._tensordict(self._obs)

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Step every environment with actions ``[E, A]`` in the controller's units, clipped to their bounds.

        Returns:
            Observations ``{"policy": [E, O]}``, rewards ``[E]`` float32, dones ``[E]`` long (terminated or truncated),
            and extras, all but the first only if an episode ended:

            - ``"time_outs"``: ``[E]`` bool, ended by the time limit or, with ``on_success="bootstrap"``, by success,
              and not by a failure in the same step.
            - ``"final_obs"``: ``{"policy": [E, O]}``, the last observation of ended episodes, else the current one.
            - ``"success"``: ``[E]`` float32, whether the episode succeeded in its last step, NaN for all others; only
              if the task reports it.
            - ``"log"``: means over the ended episodes of ``"Episode/return"``, ``"Episode/length"`` (steps actually
              taken) and, if reported, ``"Episode/success"``; with ``on_success="ignore"`` also
              ``"Episode/success_once"``, success in any step.

        Raises:
            NonFiniteError: The actions contain NaN or infinity, or the simulator returned them (see
                :attr:`restarts_faulty`).
            ProcessLostError: A worker process ended.
            ValueError: ``actions`` has another shape.
        """
        commands = self._clip(actions)
        step = self._simulations.step(commands)
        self._total_steps += 1
        self._episode_steps = self._episode_steps + 1
        last, rewards = self._tensor(step.obs), self._tensor(step.rewards)
        terminated, time_outs, success = self._ends(step)
        faulty = faulty_rows(last, rewards)
        terminated, time_outs = terminated & ~faulty, time_outs | faulty
        dones = terminated | time_outs
        self._succeeded = self._succeeded if success is None else self._succeeded | success
        # One transfer from the device: ManiSkill starts episodes by index.
        finite = torch.isfinite(actions).all().to(self.device)
        some_ended, some_faulty, finite_actions = torch.stack((dones.any(), faulty.any(), finite)).tolist()
        if not finite_actions:
            require_finite(actions, "the policy's action", self.task, self._time)
        if some_faulty:
            quantities = [("the simulator's reward", rewards), ("the simulator's observation", last)]
            self._faults.check(faulty, quantities, self._total_steps, self.restarts_faulty)
            rewards = torch.where(faulty, 0.0, rewards)
            last = torch.where(faulty.unsqueeze(1), torch.nan, last)  # training masks the transition
        self._returns = self._returns + rewards
        self._obs, extras = last, {"time_outs": time_outs}
        if some_ended:
            extras |= self._finish(dones, last, success)
        return self.get_observations(), rewards, dones.long(), extras

    # -- beyond RSL-RL's interface ------------------------------------------------------------------------------------

    def render(self) -> np.ndarray:
        """Render environment 0 as an image ``[height, width, 3]`` of uint8.

        Raises:
            ConfigError: The environment was made without a render mode.
        """
        if self._render_mode is None:
            raise ConfigError(f"{self.task} was made without a render mode. Make it with render_mode='rgb_array'.")
        return self._simulations.render()

    def alike(self, num_envs: int, seed: int) -> ManiSkillVecEnv:
        """Make further environments of the same task; a subclass with another constructor must override this."""
        return self._make_alike(num_envs=num_envs, seed=seed)

    def describe(self, groups: Sequence[str]) -> dict[str, Any]:
        """Return the observation's terms and the controllers, for exports; see :func:`description.describe`."""
        return describe(self._options)

    def close(self) -> None:
        """Close the simulators and end the workers. Closing twice does nothing."""
        self._simulations.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the running episodes: their seeds and actions, since PhysX's state cannot be read whole.

        On a CPU, loading it repeats the episodes: ``load_state_dict`` in another process followed by the same actions
        produces bitwise the same as an uninterrupted run. On a GPU ``"exact"`` is False and loading starts new
        episodes. All values are tensors or plain Python.
        """
        past = np.stack(self._past, 1) if self._past else np.zeros((self.num_envs, 0, self.num_actions), np.float32)
        return {
            "task": self.task,
            "num_envs": self.num_envs,
            "exact": self._is_repeatable,
            "seed": self._seed,
            "total_steps": self._total_steps,
            "episodes": torch.tensor(self._episodes),
            "offsets": self._offsets.clone(),
            "episode_steps": self._episode_steps.clone(),
            "episode_returns": self._returns.clone(),
            "succeeded": self._succeeded.clone(),
            "observations": self._obs.clone(),
            "actions": torch.tensor(past),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the episodes saved by :meth:`state_dict`; if that is impossible, warn and start new ones.

        Raises:
            CheckpointError: The state is of another task or has actions of another size.
        """
        if state["task"] != self.task:
            raise CheckpointError(f"The environment state is of task {state['task']!r}, not of {self.task!r}.")
        if state["num_envs"] != self.num_envs:
            why = f"the state is of {state['num_envs']} environments, not {self.num_envs}"
        else:
            self._seed, self._episodes = state["seed"], state["episodes"].cpu().numpy().copy()
            repeatable = state["exact"] and self._is_repeatable
            why = None if repeatable else "PhysX does not repeat itself on a GPU"
        self._total_steps = state["total_steps"]
        if why is not None:
            warnings.warn(f"{self.task} starts new episodes: {why}.", stacklevel=2)
            self.reset()
            return
        self._replay(state)

    # -- parts of a step ----------------------------------------------------------------------------------------------

    def _clip(self, actions: Tensor) -> Any:
        """Return actions as the simulations take them, clipped to their bounds, and remember them for a resume."""
        expected = (self.num_envs, self.num_actions)
        if tuple(actions.shape) != expected:
            raise ValueError(f"{self.task} takes actions of shape {expected}, not {tuple(actions.shape)}.")
        values = torch.clamp(actions.detach().to(self.device, torch.float32), self.action_low, self.action_high)
        if not self._is_repeatable:
            return values
        require_finite(values, "the policy's action", self.task, self._time)  # before PhysX sees it
        self._past.append(values.numpy(force=True))
        return self._past[-1]

    def _ends(self, step: Step) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return terminations and time-outs ``[E]``, of which an episode has one at most, and success ``[E]``."""
        terminated, truncated = self._tensor(step.terminated), self._tensor(step.truncated)
        if step.success is None:
            return terminated, truncated & ~terminated, None
        success = self._tensor(step.success)
        if self._on_success != "terminate":
            terminated = torch.zeros_like(success) if step.fail is None else self._tensor(step.fail)
        if self._on_success == "bootstrap":
            truncated = truncated | success
        return terminated, truncated & ~terminated, success

    def _finish(self, dones: Tensor, last: Tensor, success: Tensor | None) -> dict[str, Any]:
        """Start new episodes where ``dones`` ``[E]`` is true and return the extras of the ended ones."""
        ids = torch.nonzero(dones).flatten()
        extras: dict[str, Any] = {"final_obs": self._tensordict(last)}
        extras["log"] = {
            "Episode/return": self._returns[ids].mean(),
            "Episode/length": self._episode_steps[ids].float().mean(),
        }
        if success is not None:
            extras["success"] = torch.where(dones, success.float(), torch.nan)
            extras["log"]["Episode/success"] = success[ids].float().mean()
        if success is not None and self._on_success == "ignore":
            extras["log"]["Episode/success_once"] = self._succeeded[ids].float().mean()
        first = self._begin(ids.tolist())
        require_finite(first, "the simulator's first observation", self.task, self._time)
        self._obs = last.index_copy(0, ids, first)
        self._episode_steps = self._episode_steps.masked_fill(dones, 0)
        self._offsets = self._offsets.masked_fill(dones, 0)
        self._returns = self._returns.masked_fill(dones, 0.0)
        self._succeeded = self._succeeded & ~dones
        longest = int(self._episode_steps.max()) if self._is_repeatable else 0
        self._past = self._past[len(self._past) - longest :]
        return extras

    def _begin(self, indices: Sequence[int]) -> Tensor:
        """Start the next episode of some environments and return its observations ``[K, O]``."""
        self._episodes[list(indices)] += 1
        seeds = [episode_seed(self._seed + i, int(self._episodes[i])) for i in indices]
        return self._tensor(self._simulations.reset(indices, seeds))

    def _replay(self, state: Mapping[str, Any]) -> None:
        """Bring the simulations to a saved state."""
        past = state["actions"].cpu().numpy()
        if past.shape[2] != self.num_actions or state["observations"].shape != self._obs.shape:
            raise CheckpointError(
                f"The saved episodes have {past.shape[2]} actions and observations of {state['observations'].shape[1]} "
                f"numbers, {self.task} has {self.num_actions} and {self._obs.shape[1]}. Resume with the env settings "
                "of the saved run."
            )
        counts, offsets = state["episode_steps"].tolist(), state["offsets"].tolist()
        seeds = [episode_seed(self._seed + i, int(episode)) for i, episode in enumerate(self._episodes)]
        self._obs = self._tensor(self._simulations.replay(seeds, offsets, counts, past))  # type: ignore[attr-defined]
        deviation = (self._obs - state["observations"].to(self.device)).abs().amax(1)
        if not_repeated := int((deviation != 0.0).sum()):
            warnings.warn(
                f"{self.task} does not continue exactly: repeating the saved actions led {not_repeated} of "
                f"{self.num_envs} environments to other states, by up to {float(deviation.max()):.2g}; another machine "
                "or version of ManiSkill simulates slightly differently.",
                stacklevel=3,
            )
        self._past = list(np.moveaxis(past, 1, 0))
        self._episode_steps, self._offsets = (state[k].to(self.device) for k in ("episode_steps", "offsets"))
        self._returns, self._succeeded = (state[k].to(self.device) for k in ("episode_returns", "succeeded"))

    # -- small parts --------------------------------------------------------------------------------------------------

    @property
    def _is_repeatable(self) -> bool:
        return self._options.sim_backend == CPU

    def _time(self, env: int) -> str:
        return f"{int(self._episode_steps[env])} steps into its episode and {self._total_steps} since the start"

    def _tensor(self, values: Any) -> Tensor:
        """Return values of the simulations on the device, numbers as float32."""
        tensor = torch.as_tensor(values).to(self.device)
        return tensor.float() if tensor.is_floating_point() else tensor

    def _tensordict(self, obs: Tensor) -> TensorDict:
        """Copy ``[E, O]``, so that later steps do not change a returned tensor."""
        return TensorDict({"policy": obs.clone()}, batch_size=[self.num_envs], device=self.device)


def episode_seed(seed: int, episode: int) -> int:
    """Return the seed of an environment's episode, in ManiSkill's range."""
    return int(np.random.SeedSequence((seed, episode)).generate_state(1)[0]) >> 1
