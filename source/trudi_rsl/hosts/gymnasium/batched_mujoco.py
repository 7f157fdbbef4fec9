# SPDX-License-Identifier: BSD-3-Clause
"""Gymnasium's MuJoCo tasks, version 5, with observations and rewards of all environments computed at once.

Each simulation stays the environment's own and is stepped by ``mj_step`` as Gymnasium does it. The classes below repeat
the rest of ``step`` in ``gymnasium/envs/mujoco/*_v5.py`` of Gymnasium 1.4 bitwise: the same operations on the same
types in the same order, so that sums over a row round as Gymnasium's sums over one environment.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, cast

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_PER_THREAD = 16
"""Environments for which a thread is worth the time to wake it."""


class BatchedMujoco(ABC):
    """E environments of one of Gymnasium's MuJoCo tasks.

    Args:
        cores: The environments without wrappers.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    """Attributes of an environment on which its rewards, observations and terminations depend."""

    def __init__(self, cores: Sequence[Any]) -> None:
        self.task = cores[0]
        self._cores = cores
        self._simulations = [(core.model, core.data, core.data.ctrl) for core in cores]
        self._options = [core.model.opt for core in cores]
        self._views: dict[str, list[Array]] = {}

    def before(self) -> Array:
        """Return what the rewards compare with the state before the step, ``[E, ...]``."""
        return np.empty(0)

    def simulate(self, actions: NDArray[Any], note: Callable[[int, Exception], None]) -> None:
        """Step all simulations with actions ``[E, A]``, on as many threads as torch uses.

        ``note`` receives the index of an environment and the exception that its simulation raises.
        """
        controls, num_envs = actions.astype(np.float64), len(actions)
        parts = max(1, min(torch.get_num_threads(), num_envs // LEAST_PER_THREAD))
        ends = [num_envs * part // parts for part in range(parts + 1)]
        spans = [range(*pair) for pair in pairwise(ends)]
        others = [self._threads.submit(self._simulate, span, controls, note) for span in spans[1:]]
        try:
            self._simulate(spans[0], controls, note)
        finally:
            wait(others)
        for other in others:
            other.result()

    def _simulate(self, envs: range, controls: Array, note: Callable[[int, Exception], None]) -> None:
        frames, mj = self.task.frame_skip, cast("Any", mujoco)
        step, complete = mj.mj_step, mj.mj_rnePostConstraint
        for env in envs:
            model, data, control = self._simulations[env]
            control[:] = controls[env]
            try:
                step(model, data, frames)
                complete(model, data)
            except Exception as error:
                note(env, error)
                raise

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(thread_name_prefix="mujoco")

    def observations(self) -> Array:
        """Return observations ``[E, O]``."""
        return np.concatenate([self.read("qpos"), self.read("qvel")], axis=-1)

    @abstractmethod
    def rewards(self, before: Array, actions: NDArray[Any]) -> NDArray[Any]:
        """Return the rewards ``[E]`` of a step with actions ``[E, A]`` from ``before``, after it was simulated."""

    def terminated(self) -> NDArray[np.bool_]:
        """Return where an episode terminates, ``[E]``; nowhere by default."""
        return np.zeros(len(self._cores), dtype=bool)

    def infos(self) -> Sequence[Mapping[str, Any]]:
        """Return nothing for each environment: these tasks report no success."""
        return ({},) * len(self._cores)

    def read(self, name: str) -> Array:
        """Return a copy of a field of all ``MjData``, ``[E, ...]``."""
        if name not in self._views:
            self._views[name] = [getattr(data, name) for _, data, _ in self._simulations]
        views = self._views[name]
        return np.concatenate(views).reshape(len(views), *views[0].shape)

    def body(self, name: str | int) -> Array:
        """Return the position of a body ``[E, 3]`` in metres, as of the last substep's start."""
        return self.read("xpos")[:, self.task.data.body(name).id]

    def timesteps(self) -> Array:
        """Return the seconds of a substep, ``[E]``."""
        return np.array([options.timestep for options in self._options])


def _squared(values: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of squares of each row, ``[E]`` in the type of ``values`` ``[E, ...]``."""
    return np.sum(np.square(values.reshape(len(values), -1)), axis=-1)


def _norms(vectors: Array) -> Array:
    """Return the lengths of vectors ``[E, N]`` as ``numpy.linalg.norm`` of each rounds them, by a dot product."""
    return np.sqrt([vector.dot(vector) for vector in vectors])


class HalfCheetah(BatchedMujoco):
    """Runs along x; also the base of the other tasks whose reward is a speed."""

    settings = ("_forward_reward_weight", "_ctrl_cost_weight", "_exclude_current_positions_from_observation")
    skipped: ClassVar[int] = 1
    """Leading positions that the observation leaves out by default."""

    def before(self) -> Array:
        """Return x ``[E]`` in metres."""
        return self.read("qpos")[:, 0]

    def observations(self) -> Array:
        """Return positions and velocities of the joints."""
        return self._without_skipped(super().observations())

    def rewards(self, before: Array, actions: NDArray[Any]) -> NDArray[Any]:
        """Return speed minus costs."""
        return self._forward(before) - self.costs(actions)

    def costs(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Return what the reward subtracts, ``[E]``."""
        return self.task._ctrl_cost_weight * _squared(actions)

    def _forward(self, before: Array) -> Array:
        velocity = (self.before() - before) / (self.timesteps() * self.task.frame_skip)
        return self.task._forward_reward_weight * velocity

    def _without_skipped(self, joints: Array) -> Array:
        return joints[:, self.skipped :] if self.task._exclude_current_positions_from_observation else joints


class Swimmer(HalfCheetah):
    """Swims along x in the plane."""

    skipped = 2


class _Falling(HalfCheetah):
    """A task that rewards not to fall."""

    settings = (*HalfCheetah.settings, "_healthy_reward", "_terminate_when_unhealthy", "_healthy_z_range")

    @abstractmethod
    def healthy(self) -> NDArray[np.bool_]:
        """Return where the robot has not fallen, ``[E]``."""

    def rewards(self, before: Array, actions: NDArray[Any]) -> NDArray[Any]:
        """Return speed and health minus costs."""
        return self._forward(before) + self.healthy() * self.task._healthy_reward - self.costs(actions)

    def terminated(self) -> NDArray[np.bool_]:
        """Return where the robot has fallen, if that ends an episode."""
        return ~self.healthy() & bool(self.task._terminate_when_unhealthy)


class Walker2d(_Falling):
    """Walks along x."""

    settings = (*_Falling.settings, "_healthy_angle_range")

    def observations(self) -> Array:
        """Return positions, and velocities clipped to [-10, 10]."""
        joints = np.concatenate([self.read("qpos"), np.clip(self.read("qvel"), -10, 10)], axis=-1)
        return self._without_skipped(joints)

    def healthy(self) -> NDArray[np.bool_]:
        """Return where height and pitch are in their ranges."""
        _, z, angle = self.read("qpos")[:, :3].T
        (min_z, max_z), (min_angle, max_angle) = self.task._healthy_z_range, self.task._healthy_angle_range
        return (min_z < z) & (z < max_z) & (min_angle < angle) & (angle < max_angle)


class Hopper(Walker2d):
    """Hops along x."""

    settings = (*Walker2d.settings, "_healthy_state_range")

    def healthy(self) -> NDArray[np.bool_]:
        """Return where height, pitch and all but the first two joint values are in their ranges."""
        least, most = self.task._healthy_state_range
        state = BatchedMujoco.observations(self)[:, 2:]
        return super().healthy() & np.all((least < state) & (state < most), axis=-1)


class Ant(_Falling):
    """Walks along x in space."""

    settings = (
        *_Falling.settings,
        *("_contact_cost_weight", "_contact_force_range", "_main_body", "_include_cfrc_ext_in_observation"),
    )
    skipped = 2

    def before(self) -> Array:
        """Return x of the main body ``[E]`` in metres."""
        return self.body(self.task._main_body)[:, 0]

    def observations(self) -> Array:
        """Return joints, and contact forces unless they are left out."""
        joints = super().observations()
        if not self.task._include_cfrc_ext_in_observation:
            return joints
        return np.concatenate([joints, self._contact_forces()[:, 1:].reshape(len(joints), -1)], axis=-1)

    def healthy(self) -> NDArray[np.bool_]:
        """Return where the state is finite and the height in its range."""
        state, (least, most) = BatchedMujoco.observations(self), self.task._healthy_z_range
        return np.isfinite(state).all(axis=-1) & (least <= state[:, 2]) & (state[:, 2] <= most)

    def costs(self, actions: NDArray[Any]) -> Array:
        """Return the costs of controls and contacts."""
        return super().costs(actions) + self.task._contact_cost_weight * _squared(self._contact_forces())

    def _contact_forces(self) -> Array:
        return np.clip(self.read("cfrc_ext"), *self.task._contact_force_range)


_HUMANOIDS_PARTS = (("cinert", 1), ("cvel", 1), ("qfrc_actuator", 6), ("cfrc_ext", 1))
"""Fields of ``MjData`` in the observations of the humanoids, and their first row there."""
_HUMANOIDS_SETTINGS = tuple(f"_include_{name}_in_observation" for name, _ in _HUMANOIDS_PARTS)


def _humanoid_observations(simulations: BatchedMujoco) -> Array:
    parts = [simulations.read("qpos"), simulations.read("qvel")]
    for name, first in _HUMANOIDS_PARTS:
        if getattr(simulations.task, f"_include_{name}_in_observation") is True:
            parts.append(simulations.read(name)[:, first:].reshape(len(parts[0]), -1))
    obs = np.concatenate(parts, axis=-1)
    return obs[:, 2:] if simulations.task._exclude_current_positions_from_observation else obs


class Humanoid(_Falling):
    """Walks along x in space."""

    settings = (*_Falling.settings, *_HUMANOIDS_SETTINGS, "_contact_cost_weight", "_contact_cost_range")

    def before(self) -> Array:
        """Return x of the centre of mass ``[E]`` in metres."""
        masses = np.stack([model.body_mass for model, *_ in self._simulations])
        return np.einsum("eb,ebj->ej", masses, self.read("xipos"))[:, 0] / masses.sum(axis=-1)

    def observations(self) -> Array:
        """Return joints and the parts that are included."""
        return _humanoid_observations(self)

    def healthy(self) -> NDArray[np.bool_]:
        """Return where the height is in its range."""
        z, (least, most) = self.read("qpos")[:, 2], self.task._healthy_z_range
        return (least < z) & (z < most)

    def costs(self, actions: NDArray[Any]) -> Array:
        """Return the costs of controls and contacts."""
        contacts = self.task._contact_cost_weight * _squared(self.read("cfrc_ext"))
        return super().costs(self.read("ctrl")) + np.clip(contacts, *self.task._contact_cost_range)


class HumanoidStandup(BatchedMujoco):
    """Gets up from the ground."""

    settings = (
        *_HUMANOIDS_SETTINGS,
        *("_exclude_current_positions_from_observation", "_ctrl_cost_weight"),
        *("_impact_cost_weight", "_impact_cost_range"),
    )

    def observations(self) -> Array:
        """Return joints and the parts that are included."""
        return _humanoid_observations(self)

    def rewards(self, before: Array, actions: NDArray[Any]) -> NDArray[Any]:
        """Return height minus costs."""
        impacts = self.task._impact_cost_weight * _squared(self.read("cfrc_ext"))
        height = self.read("qpos")[:, 2] / self.timesteps()
        costs = self.task._ctrl_cost_weight * _squared(self.read("ctrl"))
        return height - costs - np.clip(impacts, *self.task._impact_cost_range) + 1


class InvertedPendulum(BatchedMujoco):
    """Balances a pole."""

    def rewards(self, before: Array, actions: NDArray[Any]) -> NDArray[Any]:
        """Return 1 where the pole stands."""
        return (~self.terminated()).astype(np.float64)

    def terminated(self) -> NDArray[np.bool_]:
        """Return where the pole has fallen."""
        obs = self.observations()
        return ~np.isfinite(obs).all(axis=-1) | (np.abs(obs[:, 1]) > 0.2)


class InvertedDoublePendulum(BatchedMujoco):
    """Balances two poles."""

    settings = ("_healthy_reward",)

    def observations(self) -> Array:
        """Return positions, sines and cosines of the angles, velocities and the force on the cart."""
        positions, velocities = self.read("qpos"), np.clip(self.read("qvel"), -10, 10)
        angles, forces = np.ascontiguousarray(positions[:, 1:]), np.clip(self.read("qfrc_constraint"), -10, 10)
        return np.concatenate([positions[:, :1], np.sin(angles), np.cos(angles), velocities, forces[:, :1]], axis=-1)

    def rewards(self, before: Array, actions: NDArray[Any]) -> NDArray[Any]:
        """Return what standing brings, minus distance and speed."""
        x, _, y = self.read("site_xpos")[:, 0].T
        _, v1, v2 = self.read("qvel")[:, :3].T
        distance = 0.01 * _power_of_two(x) + _power_of_two(y - 2)
        speed = 1e-3 * _power_of_two(v1) + 5e-3 * _power_of_two(v2)
        return self.task._healthy_reward * (~self.terminated()).astype(int) - distance - speed

    def terminated(self) -> NDArray[np.bool_]:
        """Return where the tip is low."""
        return self.read("site_xpos")[:, 0, 2] <= 1


def _power_of_two(values: Array) -> Array:
    """Return the squares of ``[E]`` as the C library's ``pow`` rounds them, which NumPy calls for single numbers."""
    return np.array([value**2 for value in values.tolist()])


class Reacher(BatchedMujoco):
    """Reaches a target with the tip of an arm."""

    settings = ("_reward_dist_weight", "_reward_control_weight")

    def observations(self) -> Array:
        """Return cosines and sines of the angles, the target, velocities and the way to the target."""
        positions, velocities = self.read("qpos"), self.read("qvel")
        angles = np.ascontiguousarray(positions[:, :2])
        parts = [np.cos(angles), np.sin(angles), positions[:, 2:], velocities[:, :2], self._from_target()[:, :2]]
        return np.concatenate(parts, axis=-1)

    def rewards(self, before: Array, actions: NDArray[Any]) -> NDArray[Any]:
        """Return the negative distance and costs."""
        distance = -_norms(self._from_target()) * self.task._reward_dist_weight
        return distance + -_squared(actions) * self.task._reward_control_weight

    def _from_target(self) -> Array:
        return self.body("fingertip") - self.body("target")


class Pusher(BatchedMujoco):
    """Pushes a cylinder to a goal."""

    settings = ("_reward_near_weight", "_reward_dist_weight", "_reward_control_weight")

    def observations(self) -> Array:
        """Return the arm's joints, and the positions of its tip, the cylinder and the goal."""
        bodies = [self.body(name) for name in ("tips_arm", "object", "goal")]
        return np.concatenate([self.read("qpos")[:, :7], self.read("qvel")[:, :7], *bodies], axis=-1)

    def rewards(self, before: Array, actions: NDArray[Any]) -> NDArray[Any]:
        """Return the negative distances and costs."""
        tip, cylinder, goal = (self.body(name) for name in ("tips_arm", "object", "goal"))
        near = -_norms(cylinder - tip) * self.task._reward_near_weight
        distance = -_norms(cylinder - goal) * self.task._reward_dist_weight
        return distance + -_squared(actions) * self.task._reward_control_weight + near


TASKS: dict[str, type[BatchedMujoco]] = {
    f"gymnasium.envs.mujoco.{module}_v5.{batched.__name__}Env": batched
    for module, batched in {
        "ant": Ant,
        "half_cheetah": HalfCheetah,
        "hopper": Hopper,
        "humanoid": Humanoid,
        "humanoidstandup": HumanoidStandup,
        "inverted_double_pendulum": InvertedDoublePendulum,
        "inverted_pendulum": InvertedPendulum,
        "pusher": Pusher,
        "reacher": Reacher,
        "swimmer": Swimmer,
        "walker2d": Walker2d,
    }.items()
}
"""Gymnasium's environment classes by module and name."""
