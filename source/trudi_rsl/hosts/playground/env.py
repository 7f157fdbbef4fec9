# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""MuJoCo Playground's tasks as RSL-RL environments."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.hosts.playground.backend import from_torch, jax_device, logged_compilation, to_torch
from trudi_rsl.hosts.playground.description import describe_task
from trudi_rsl.hosts.playground.rendering import Camera
from trudi_rsl.hosts.playground.reports import Reports
from trudi_rsl.hosts.playground.simulation import Carry
from trudi_rsl.hosts.playground.task import LoadedTask, load_task

GROUPS = {"state": "policy", "privileged_state": "privileged"}
"""Observation groups by the names that Playground's tasks use; other names are kept."""


@dataclass(frozen=True)
class PlaygroundCfg:
    """Arguments that environments were made from, for RSL-RL's log writers."""

    task: str
    num_envs: int
    seed: int
    impl: str
    episode_length: int
    config: dict[str, Any]
    """The task's settings, resolved."""


class PlaygroundVecEnv(VecEnv):
    """E environments of a Playground task, simulated together by JAX on the device of training.

    Observations are a TensorDict of float32: ``policy`` ``[E, O]`` and, if the task has privileged observations,
    ``privileged`` ``[E, P]``. Actions ``[E, A]`` are in [-1, 1]. The step that ends an episode returns the first
    observation of the next episode, which is a new one for every environment and episode.

    Beside those of :class:`rsl_rl.env.VecEnv`:

    Attributes:
        max_episode_length: Time limit in steps.
        cfg: Arguments and settings, for RSL-RL's log writers.
        task: Name of the task.
        action_low: Lower action bound ``[A]``, -1.
        action_high: Upper action bound ``[A]``, 1.
        step_dt: Simulated seconds per step.
        restarts_faulty: Whether an environment that produces NaN or infinity is reset while the others go on. If
            False, the default, that is an error: a training run sets it, an evaluation must not hide such a fault.
    """

    def __init__(
        self,
        task: str | LoadedTask,
        num_envs: int,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        impl: str = "auto",
        episode_length: int | None = None,
        config: Mapping[str, Any] | None = None,
        menagerie: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Make the environments, compile them, and start their first episodes.

        Args:
            task: A name in Playground's registry, ``module:Name`` for one that importing ``module`` registers, or a
                loaded task, which has its own device, implementation and settings.
            num_envs: Number of environments, at least 1.
            seed: Seed of all episodes, at least 0.
            device: Device of simulation and outputs, cpu or cuda.
            impl: Implementation of the physics: jax, warp, or auto for warp on a GPU and jax on a CPU.
            episode_length: Time limit in control steps, at least 1; None keeps the task's own.
            config: Settings of the task that differ from its own, nested or by dotted names.
            menagerie: Folder with robots' meshes, a copy of mujoco_menagerie.
            render_mode: None or ``rgb_array``.

        Raises:
            ConfigError: A size, the task or a setting is wrong, or JAX does not have the device.
        """
        for name, value in (("num_envs", num_envs), ("episode_length", episode_length)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"env.{name} must be an integer of at least 1, not {value!r}.")
        self.device = torch.device(device)
        if isinstance(task, str):
            options = {"impl": impl, "episode_length": episode_length, "config": config, "menagerie": menagerie}
            task = load_task(task, jax_device(self.device), **options)
        self.loaded = task
        self.task = task.name
        self.num_envs, self.num_actions = num_envs, int(task.env.action_size)
        self.max_episode_length, self.step_dt = task.max_episode_length, task.step_dt
        self.action_low = -torch.ones(self.num_actions, device=self.device)
        self.action_high = torch.ones(self.num_actions, device=self.device)
        self.cfg = PlaygroundCfg(task.name, num_envs, seed, task.impl, task.max_episode_length, dict(task.config))
        self.restarts_faulty = False
        self._simulation = task.simulation
        self._reports = Reports(task.name, task.simulation, task.device)
        self._camera = None if render_mode is None else Camera(task.env.mj_model, render_mode)
        with logged_compilation(task.name, num_envs):
            carry = self._simulation.start(seed, num_envs)
            carry, outcome = self._simulation.advance(carry, self._to_jax(torch.zeros(num_envs, self.num_actions)))
            jax.block_until_ready(outcome)
        self.seed(seed)

    @property
    def unwrapped(self) -> PlaygroundVecEnv:
        """These environments; callers ask wrappers for what they wrap."""
        return self

    @property
    def episode_length_buf(self) -> torch.Tensor:
        """Steps of each episode as counted by its time limit, ``[E]`` long; a copy, so assign to change it.

        RSL-RL's ``init_at_random_ep_len`` spreads the ends of the first episodes by assigning values of at least 0. An
        episode at its limit ends with the next step.
        """
        return to_torch(self._carry.clock).long()

    @episode_length_buf.setter
    def episode_length_buf(self, value: torch.Tensor) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if tuple(value.shape) != (self.num_envs,) or bool((value < 0).any()):
            found = f"shape {tuple(value.shape)}" + (f" with minimum {value.min()}" if value.numel() else "")
            raise ValueError(f"episode_length_buf must be {self.num_envs} numbers of at least 0, not {found}.")
        self._carry = self._carry._replace(clock=self._put(value.cpu().numpy().astype(np.int32)))

    def seed(self, seed: int) -> int:
        """Start the first episodes of a seed in all environments, and return ``seed``."""
        self._carry = self._simulation.start(seed, self.num_envs)
        self._reports.forget()
        return seed

    def reset(self, env_ids: torch.Tensor | None = None) -> tuple[TensorDict, dict[str, Any]]:
        """Start the next episodes of environments ``[K]``, default all; return observations and empty extras."""
        pending = np.full(self.num_envs, env_ids is None)
        if env_ids is not None:
            pending[env_ids.cpu().numpy()] = True
        self._carry = self._simulation.refill(self._carry, self._put(pending))
        return self.get_observations(), {}

    def get_observations(self) -> TensorDict:
        """Return the current observations."""
        # copies, since JAX reuses the memory of its state in the next step
        return self._tensordict(jax.tree.map(lambda x: to_torch(x).clone(), self._simulation.observations(self._carry)))

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Step every environment with actions ``[E, A]``, clipped to [-1, 1].

        Returns:
            Observations, rewards ``[E]`` float32, dones ``[E]`` long (terminated, out of time or faulty), and extras:

            - ``"time_outs"``: ``[E]`` bool, ended without having terminated.
            - ``"final_obs"``: observation groups before any reset, so the last ones of ended episodes; NaN where the
              simulator returned NaN or infinity. On a CPU, they share the observations' memory if no episode has ended.
            - ``"success"``: ``[E]`` float32 for tasks that report it: 1 where an episode ended that succeeded in some
              step, 0 where it did not, NaN where none ended.
            - ``"log"``: if statistics were read (after each step on a CPU, every 16 steps on a GPU) and episodes have
              ended since, their means of ``"Episode/return"``, ``"Episode/length"`` and ``"Episode/success"``, and of
              the task's own metrics, averaged over the episode, as ``"Episode_Reward/..."`` and
              ``"Episode_Metrics/..."``.

        Raises:
            NonFiniteError: Simulator or policy returned NaN or infinity (see :attr:`restarts_faulty`).
            ValueError: ``actions`` has another shape.
        """
        if tuple(actions.shape) != (self.num_envs, self.num_actions):
            expected = (self.num_envs, self.num_actions)
            raise ValueError(f"{self.task} takes actions of shape {expected}, not {tuple(actions.shape)}.")
        on_cpu = self._reports.on_cpu
        self._carry, outcome = self._simulation.advance(self._carry, self._to_jax(actions))
        # of a step without ends; made while it is computed, since the next line waits for it on a CPU
        no_ends = [torch.zeros(self.num_envs, dtype=kind) for kind in (torch.long, torch.bool)] if on_cpu else []
        final_obs = jax.tree.map(to_torch, outcome.final_obs)
        extras: dict[str, Any] = {"final_obs": self._tensordict(final_obs)}
        if self._simulation.success is not None:
            extras["success"] = to_torch(outcome.success)
        # reading the flags costs nothing on a CPU and forces a sync on a GPU
        if on_cpu and not np.asarray(outcome.done).any():
            dones, extras["time_outs"] = no_ends
            return self._tensordict(final_obs), to_torch(outcome.reward), dones, extras
        carry = self._simulation.refill(self._carry, outcome.done)
        self._carry, log = self._reports.read(carry, immediately=not self.restarts_faulty)
        extras["time_outs"] = to_torch(outcome.time_out)
        if log is not None:
            extras["log"] = log
        return self.get_observations(), to_torch(outcome.reward), to_torch(outcome.done).long(), extras

    def render(self) -> np.ndarray:
        """Return an image of environment 0, ``[height, width, 3]`` uint8.

        Raises:
            ConfigError: The environments were made without a render mode.
        """
        if self._camera is None:
            raise ConfigError(f"{self.task} was made without a render mode. Make it with render_mode='rgb_array'.")
        return self._camera.render(self._simulation.unpack(self._carry.state).data)

    def alike(self, num_envs: int, seed: int) -> PlaygroundVecEnv:
        """Make further environments of the same task on the same device."""
        made = type(self)(self.loaded, num_envs, seed=seed, device=self.device)
        made.task = self.task
        return made

    def describe(self, groups: Sequence[str]) -> dict[str, Any]:
        """Return the metadata of these observation groups, of the actions and of the robot for exported policies."""
        names = {group: name for name, group in GROUPS.items()}
        return describe_task(self.loaded, [names.get(group, group) for group in groups], self._commands)

    def _commands(self, actions: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return MuJoCo's controls ``[nu]`` in consecutive steps of a new environment; the running ones are kept."""
        carry, controls = self._simulation.start(0, self.num_envs), []
        for action in actions:
            rows = torch.tensor(action, dtype=torch.float32).expand(self.num_envs, -1)
            carry, _ = self._simulation.advance(carry, self._to_jax(rows))
            controls.append(np.asarray(self._simulation.unpack(carry.state).data.ctrl)[0])
        return controls

    def close(self) -> None:
        """Release the renderer. Closing twice does nothing."""
        if self._camera is not None:
            self._camera.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the running episodes, so that a resumed run continues them exactly.

        ``load_state_dict`` in another process, on the same kind of device, followed by the same actions produces
        bitwise the same observations, rewards and dones as an uninterrupted run.
        """
        leaves = [torch.from_numpy(_storable(np.array(leaf))) for leaf in jax.tree.leaves(self._carry)]
        return {
            "task": self.task,
            "num_envs": self.num_envs,
            "impl": self.loaded.impl,
            "exact": True,
            "leaves": leaves,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the episodes saved by :meth:`state_dict`; if that is impossible, warn and start new ones.

        Raises:
            CheckpointError: The state belongs to another task or to other settings of it.
        """
        if state["task"] != self.task:
            raise CheckpointError(f"The environment state is of task {state['task']!r}, not of {self.task!r}.")
        for name, own in (("num_envs", self.num_envs), ("impl", self.loaded.impl)):
            if state[name] != own:
                warnings.warn(
                    f"{self.task} starts new episodes: the state is of env.{name}={state[name]}, not {own}.",
                    stacklevel=2,
                )
                self.reset()
                return
        leaves, structure = jax.tree.flatten(self._carry)
        saved = [leaf.cpu().numpy() for leaf in state["leaves"]]
        kept = jax.tree.leaves(self._carry._replace(state=self._simulation.kept, prepared=self._simulation.kept))
        if len(saved) == len(kept):  # earlier checkpoints have all leaves of a state
            saved = [leaf for leaf, keep in zip(saved, kept, strict=True) if keep is not False]
        expected = [(leaf.shape, _storable(np.empty(0, leaf.dtype)).dtype) for leaf in leaves]
        if [(leaf.shape, leaf.dtype) for leaf in saved] != expected:
            raise CheckpointError(
                f"The saved state of {self.task} does not fit its simulator. Resume with the env settings and the "
                "versions of MuJoCo Playground and MuJoCo of the saved run."
            )
        restored = [self._put(new.view(old.dtype)) for new, old in zip(saved, leaves, strict=True)]
        carry: Carry = jax.tree.unflatten(structure, restored)
        # also what the state shares memory with: a loaded array may be a view of the file's
        self._carry = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), carry)
        self._reports.forget()

    def _put(self, array: np.ndarray) -> jax.Array:
        return jax.device_put(array, self.loaded.device)

    def _to_jax(self, actions: torch.Tensor) -> jax.Array | np.ndarray:
        return from_torch(actions, torch.device(self.device))

    def _tensordict(self, obs: Any) -> TensorDict:
        named = obs if isinstance(obs, Mapping) else {"state": obs}
        groups = {GROUPS.get(name, name): value for name, value in named.items()}
        return TensorDict(groups, batch_size=[self.num_envs], device=self.device)


def _storable(array: np.ndarray) -> np.ndarray:
    """Return unsigned integers as signed ones of the same bits, which PyTorch supports fully."""
    return array.view(array.dtype.str.replace("u", "i")) if array.dtype.kind == "u" else array
