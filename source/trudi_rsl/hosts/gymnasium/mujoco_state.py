# SPDX-License-Identifier: BSD-3-Clause
"""The state of a MuJoCo simulation: its data, and what a task has changed in its model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch

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

_GEOMETRY = ("mesh_", "tex_", "skin_", "bvh_", "oct_", "flex_", "name_", "text_", "tuple_", "paths")
"""Prefixes of the large fields of MjModel that no task changes between episodes."""
_STRUCTS = ("opt", "stat")
"""Parts of MjModel with numbers of their own: gravity, time step, friction; sizes and inertias that solvers use."""


class MujocoState:
    """Saves and restores the simulation of MuJoCo environments of one task.

    Tasks that move goals or vary robots do so in the model (``body_pos``, ``geom_friction``, ``opt.gravity``), which
    MuJoCo's own state leaves out.

    Args:
        envs: Copies that were just made. The first one's model is the reference for what a task has changed; what
            differs between the first two was drawn by the constructor and is saved always.
    """

    def __init__(self, envs: Sequence[gym.Env]) -> None:
        self._model = {name: _copied(value) for name, value in _model_values(_model_of(envs[0]))}
        second = dict(_model_values(_model_of(envs[1]))) if len(envs) > 1 else self._model
        self._drawn = {name for name, value in self._model.items() if not np.array_equal(value, second[name])}

    def save(self, env: gym.Env) -> dict[str, Any]:
        """Return ``integration`` and ``derived`` ``[N]`` float64, and ``model``, changed fields by name."""
        mujoco, simulator = sys.modules["mujoco"], cast("Any", env.unwrapped)
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        integration = np.empty(mujoco.mj_stateSize(simulator.model, kind))
        mujoco.mj_getState(simulator.model, simulator.data, integration, kind)
        derived = np.concatenate([getattr(simulator.data, name).ravel() for name in _DERIVED])
        changed = {
            name: torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value
            for name, value in _model_values(simulator.model)
            if name in self._drawn or not np.array_equal(value, self._model[name])
        }
        return {"integration": torch.from_numpy(integration), "derived": torch.from_numpy(derived), "model": changed}

    def require_same_model(self, env: gym.Env, saved: Mapping[str, Any]) -> None:
        """Raise a CheckpointError if a state has other sizes than the environment's model."""
        own = self.save(env)
        if any(saved[name].shape != own[name].shape for name in ("integration", "derived")):
            raise CheckpointError(
                "The saved simulator state belongs to another MuJoCo model. Resume with the env options of the saved "
                "run."
            )

    def load(self, env: gym.Env, saved: Mapping[str, Any]) -> None:
        """Restore what :meth:`save` returned; states of earlier versions have no ``model``."""
        mujoco, simulator = sys.modules["mujoco"], cast("Any", env.unwrapped)
        changed = saved.get("model", {})
        for name, value in _model_values(simulator.model):
            target = changed.get(name, self._model[name])
            target = target.cpu().numpy() if isinstance(target, torch.Tensor) else target
            if not np.array_equal(value, target):
                _write(simulator.model, name, value, target)
        integration = saved["integration"].cpu().numpy()
        mujoco.mj_setState(simulator.model, simulator.data, integration, mujoco.mjtState.mjSTATE_INTEGRATION)
        # dm_control's next step reads contacts and constraints of this state; mj_step computes them itself
        mujoco.mj_step1(simulator.model, simulator.data)
        arrays = [getattr(simulator.data, name) for name in _DERIVED]
        ends = np.cumsum([array.size for array in arrays])
        for array, values in zip(arrays, np.split(saved["derived"].cpu().numpy(), ends[:-1]), strict=True):
            array[...] = values.reshape(array.shape)


def _model_of(env: gym.Env) -> Any:
    return cast("Any", env.unwrapped).model


def _model_values(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a model that a task can change: arrays, and the numbers of :data:`_STRUCTS`."""
    for name in dir(model):
        if name.startswith(("_", *_GEOMETRY)):
            continue
        value = getattr(model, name)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            yield name, value
    for struct in _STRUCTS:
        part = getattr(model, struct)
        for name in dir(part):
            value = None if name.startswith("_") else getattr(part, name)
            if isinstance(value, int | float) or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf"):
                yield f"{struct}.{name}", value


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _write(model: Any, name: str, current: Any, value: Any) -> None:
    if isinstance(current, np.ndarray):
        if np.shape(value) != current.shape:
            raise CheckpointError(f"The saved simulator state has another shape of the model's {name}.")
        current[...] = value
        return
    struct, _, field = name.partition(".")
    setattr(getattr(model, struct), field, value)
