# SPDX-License-Identifier: BSD-3-Clause
"""Saving and restoring the state of Gymnasium environments, so that a resumed run continues the same episodes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from trudi_rsl.errors import CheckpointError

_DERIVED = (
    *("xpos", "xquat", "xmat", "xipos", "ximat", "xanchor", "xaxis"),
    *("geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "sensordata"),
    *("subtree_com", "subtree_linvel", "subtree_angmom", "cinert", "cvel", "cacc", "cfrc_int", "cfrc_ext"),
    *("actuator_length", "actuator_velocity", "actuator_force", "ten_length", "ten_velocity"),
    *("qacc", "qfrc_actuator", "qfrc_bias", "qfrc_passive", "qfrc_constraint"),
)
"""Fields of MjData that tasks read in addition to its integration state.

MuJoCo computes them before it integrates, so they lag the state by one substep and cannot be recomputed from it; the
rewards of Ant and Humanoid use the lagging ``xpos`` and ``xipos``. A pickled MjData contains them as well, but also the
model and scratch memory, and is about fifty times larger.
"""


class SimulatorStates:
    """Saves and restores the state of MuJoCo environments, and the random generators of all environments.

    Saved are the physics and those attributes of an environment and its wrappers that are numbers or numeric arrays
    and have changed since it was made (counters, targets, previous actions). Other Python objects, such as a wrapper's
    running statistics, and contacts between steps are not saved.

    Args:
        envs: The environments, just made: their attributes are the reference for what has changed.

    Attributes:
        readable: Whether the state of the simulators can be saved; if not, only the random generators are.
    """

    def __init__(self, envs: Sequence[gym.Env]) -> None:
        self._envs = envs
        self.readable = all(_is_mujoco(env) for env in envs)
        self._made = [[_numbers(layer) for layer in _task_layers(env)] for env in envs if self.readable]

    def save(self) -> dict[str, Any]:
        """Return a dict of tensors and plain Python values; ``"simulators"`` is None if not :attr:`readable`."""
        simulators = [
            _physics(env) | {"attributes": list(map(_changed, _task_layers(env), made))}
            for env, made in zip(self._envs, self._made, strict=self.readable)
        ]
        generators = [_generators(env) for env in self._envs]
        return {"generators": generators, "simulators": simulators if self.readable else None}

    def load(self, saved: Mapping[str, Any]) -> bool:
        """Restore what :meth:`save` returned, for the same number of environments.

        Returns:
            Whether the simulators were restored too; if not, the caller must reset them.

        Raises:
            CheckpointError: The state belongs to another MuJoCo model, or names an attribute that is no number.
        """
        physics = saved["simulators"] if self.readable else None
        for env, simulator in zip(self._envs, physics or [], strict=physics is not None):
            if any(simulator[name].shape != own.shape for name, own in _physics(env).items()):
                raise CheckpointError(
                    "The saved simulator state belongs to another MuJoCo model. Resume with the env options of the "
                    "saved run."
                )
        for env, (task, space) in zip(self._envs, saved["generators"], strict=True):
            env.unwrapped.np_random.bit_generator.state = task
            env.action_space.np_random.bit_generator.state = space
        if physics is None:
            return False
        for env, made, simulator in zip(self._envs, self._made, physics, strict=True):
            # Not strict: a render mode can add an outermost wrapper.
            for layer, was, now in zip(_task_layers(env), made, simulator["attributes"], strict=False):
                _set_numbers(layer, was | {name: _from_torch(value) for name, value in now.items()})
            # After the attributes, which may be views of the physics.
            _set_physics(env, simulator)
        return True


def time_limits(envs: Sequence[gym.Env]) -> list[TimeLimit]:
    """Return each environment's ``TimeLimit`` wrapper; an empty list for a task without time limit."""
    return [layer for env in envs for layer in _layers(env) if isinstance(layer, TimeLimit)]


def _layers(env: gym.Env) -> list[gym.Env]:
    """Return the environment and its wrappers, innermost first."""
    return [*_layers(env.env), env] if isinstance(env, gym.Wrapper) else [env]


def _task_layers(env: gym.Env) -> list[gym.Env]:
    """Return the layers other than the bookkeeping wrappers that ``gymnasium.make`` adds."""
    return [layer for layer in _layers(env) if not isinstance(layer, PassiveEnvChecker | OrderEnforcing | TimeLimit)]


def _generators(env: gym.Env) -> tuple[dict[str, Any], dict[str, Any]]:
    return dict(env.unwrapped.np_random.bit_generator.state), dict(env.action_space.np_random.bit_generator.state)


def _is_mujoco(env: gym.Env) -> bool:
    mujoco = sys.modules.get("mujoco")
    model, data = getattr(env.unwrapped, "model", None), getattr(env.unwrapped, "data", None)
    return mujoco is not None and isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData)


def _physics(env: gym.Env) -> dict[str, Any]:
    mujoco, simulator = sys.modules["mujoco"], cast("Any", env.unwrapped)
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    integration = np.empty(mujoco.mj_stateSize(simulator.model, kind))
    mujoco.mj_getState(simulator.model, simulator.data, integration, kind)
    derived = np.concatenate([getattr(simulator.data, name).ravel() for name in _DERIVED])
    return {"integration": torch.from_numpy(integration), "derived": torch.from_numpy(derived)}


def _set_physics(env: gym.Env, saved: Mapping[str, Any]) -> None:
    mujoco, simulator = sys.modules["mujoco"], cast("Any", env.unwrapped)
    integration = saved["integration"].cpu().numpy()
    mujoco.mj_setState(simulator.model, simulator.data, integration, mujoco.mjtState.mjSTATE_INTEGRATION)
    arrays = [getattr(simulator.data, name) for name in _DERIVED]
    ends = np.cumsum([array.size for array in arrays])
    for array, values in zip(arrays, np.split(saved["derived"].cpu().numpy(), ends[:-1]), strict=True):
        array[...] = values.reshape(array.shape)


def _numbers(layer: gym.Env) -> dict[str, Any]:
    """Return copies of the layer's attributes that are numbers or numeric arrays."""
    return {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in vars(layer).items()
        if isinstance(value, int | float) or (isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf")
    }


def _changed(layer: gym.Env, made: dict[str, Any]) -> dict[str, Any]:
    """Return the layer's numbers that differ from those it was made with, so that options are not saved."""
    return {
        name: torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray | np.generic) else value
        for name, value in _numbers(layer).items()
        if name not in made or not np.array_equal(value, made[name])
    }


def _from_torch(value: Any) -> Any:
    return value.cpu().numpy()[()] if isinstance(value, torch.Tensor) else value


def _set_numbers(layer: gym.Env, values: dict[str, Any]) -> None:
    for name, value in values.items():
        current = getattr(layer, name, None)
        numeric = int | float | np.ndarray | np.generic
        # A manipulated file could name a method.
        if not isinstance(current, numeric | None) or not isinstance(value, numeric):
            raise CheckpointError(f"The saved simulator state sets {name!r:.80}, which is not a number of the task.")
        if isinstance(current, np.ndarray) and current.shape == np.shape(value) and current.flags.writeable:
            # In place, because the array may be a view of another one.
            current[...] = value
        else:
            setattr(layer, name, value.copy() if isinstance(value, np.ndarray) else value)
