# SPDX-License-Identifier: BSD-3-Clause
"""Saving and restoring what Gymnasium environments hold, so that a resumed run continues the same episodes."""

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
"""What tasks read from MjData beside its integration state.

MuJoCo computes these before it integrates, so they lag the state by one substep and cannot be recomputed from it. The
rewards of Ant and Humanoid start from the lagging ``xpos`` and ``xipos``. A pickled MjData holds them too, but with the
model and scratch memory it is some fifty times larger.
"""


class SimulatorStates:
    """Reads and writes the state of MuJoCo environments, and the random generators of any.

    Besides the physics it holds the numbers and numeric arrays that an environment or one of its wrappers keeps in
    attributes and changed since it was made (counters, targets, previous actions). Other Python objects, for example a
    wrapper's running statistics, and contacts between the steps are not saved.
    """

    def __init__(self, envs: Sequence[gym.Env]) -> None:
        """Remember the attributes the environments start with.

        Args:
            envs: The environments, just made.
        """
        self._envs = envs
        self.readable = all(_is_mujoco(env) for env in envs)
        """Whether the simulators' state can be saved; if not, only the random generators are."""
        self._made = [[_numbers(layer) for layer in _task_layers(env)] for env in envs] if self.readable else []

    def save(self) -> dict[str, Any]:
        """Return a dict of tensors and plain Python values; ``"simulators"`` is ``None`` when they can't be read."""
        simulators = None
        if self.readable:
            simulators = [
                {
                    **_physics(env),
                    "attributes": [_changed(layer, was) for layer, was in zip(_task_layers(env), made, strict=True)],
                }
                for env, made in zip(self._envs, self._made, strict=True)
            ]
        return {"generators": [_generators(env) for env in self._envs], "simulators": simulators}

    def load(self, saved: Mapping[str, Any]) -> bool:
        """Restore what :meth:`save` returned, for the same number of environments.

        Returns:
            Whether the simulators are restored too; if not, reset them.

        Raises:
            CheckpointError: The state belongs to another simulation model.
        """
        physics = saved["simulators"] if self.readable else None
        for env, simulator in zip(self._envs, physics or [], strict=physics is not None):
            _require_same_model(env, simulator)
        for env, (task, space) in zip(self._envs, saved["generators"], strict=True):
            env.unwrapped.np_random.bit_generator.state = task
            env.action_space.np_random.bit_generator.state = space
        if physics is None:
            return False
        for env, made, simulator in zip(self._envs, self._made, physics, strict=True):
            # Not strict: a render mode can add a wrapper at the outer end.
            for layer, was, now in zip(_task_layers(env), made, simulator["attributes"], strict=False):
                _set_numbers(layer, {**was, **{name: _from_torch(value) for name, value in now.items()}})
            # After the attributes, since these may be views of the physics.
            _set_physics(env, simulator)
        return True


def time_limits(envs: Sequence[gym.Env]) -> list[TimeLimit]:
    """Return the wrapper that holds each environment's step counter, or an empty list for a task without one."""
    return [layer for env in envs for layer in _layers(env) if isinstance(layer, TimeLimit)]


def _layers(env: gym.Env) -> list[gym.Env]:
    """Return the environment and its wrappers, innermost first."""
    return [*_layers(env.env), env] if isinstance(env, gym.Wrapper) else [env]


def _task_layers(env: gym.Env) -> list[gym.Env]:
    """Return the layers whose attributes belong to the task, not to the bookkeeping that gymnasium.make adds."""
    return [layer for layer in _layers(env) if not isinstance(layer, PassiveEnvChecker | OrderEnforcing | TimeLimit)]


def _generators(env: gym.Env) -> tuple[dict[str, Any], dict[str, Any]]:
    return dict(env.unwrapped.np_random.bit_generator.state), dict(env.action_space.np_random.bit_generator.state)


def _is_mujoco(env: gym.Env) -> bool:
    mujoco = sys.modules.get("mujoco")
    model, data = getattr(env.unwrapped, "model", None), getattr(env.unwrapped, "data", None)
    return mujoco is not None and isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData)


def _physics(env: gym.Env) -> dict[str, torch.Tensor]:
    mujoco, simulator = sys.modules["mujoco"], cast("Any", env.unwrapped)
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    integration = np.empty(mujoco.mj_stateSize(simulator.model, kind))
    mujoco.mj_getState(simulator.model, simulator.data, integration, kind)
    derived = np.concatenate([getattr(simulator.data, name).ravel() for name in _DERIVED])
    return {"integration": torch.from_numpy(integration), "derived": torch.from_numpy(derived)}


def _require_same_model(env: gym.Env, saved: Mapping[str, Any]) -> None:
    if any(saved[name].shape != own.shape for name, own in _physics(env).items()):
        raise CheckpointError(
            "The saved simulator state belongs to another MuJoCo model. Resume with the env options it was saved with."
        )


def _set_physics(env: gym.Env, saved: Mapping[str, Any]) -> None:
    mujoco, simulator = sys.modules["mujoco"], cast("Any", env.unwrapped)
    integration = saved["integration"].cpu().numpy()
    mujoco.mj_setState(simulator.model, simulator.data, integration, mujoco.mjtState.mjSTATE_INTEGRATION)
    arrays = [getattr(simulator.data, name) for name in _DERIVED]
    ends = np.cumsum([array.size for array in arrays])
    for array, values in zip(arrays, np.split(saved["derived"].cpu().numpy(), ends[:-1]), strict=True):
        array[...] = values.reshape(array.shape)


def _numbers(layer: gym.Env) -> dict[str, Any]:
    """Return copies of the layer's own attributes that are numbers or numeric arrays."""
    return {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in vars(layer).items()
        if isinstance(value, int | float) or (isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf")
    }


def _changed(layer: gym.Env, made: dict[str, Any]) -> dict[str, Any]:
    """Return the layer's numbers that differ from those it was made with: configuration stays the new run's own."""
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
        # what a file names may be a method
        if not isinstance(current, numeric | None) or not isinstance(value, numeric):
            raise CheckpointError(f"The saved simulator state sets {name!r:.80}, which is no number of the task.")
        if isinstance(current, np.ndarray) and current.shape == np.shape(value) and current.flags.writeable:
            # In place: the array may be a view of another one.
            current[...] = value
        else:
            setattr(layer, name, value.copy() if isinstance(value, np.ndarray) else value)
