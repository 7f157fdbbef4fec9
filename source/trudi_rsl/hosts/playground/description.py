# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Metadata of a task for exported policies: observation names, joint commands and the robot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mujoco
import numpy as np

from trudi_rsl.deploy.contract import as_numbers
from trudi_rsl.hosts.playground.observation_names import observation_terms
from trudi_rsl.hosts.playground.task import LoadedTask

JOINT_TRANSMISSION, FIXED_GAIN, AFFINE_BIAS = 0, 0, 1
"""MuJoCo's ``mjTRN_JOINT``, ``mjGAIN_FIXED`` and ``mjBIAS_AFFINE``."""

Commands = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Maps the actions ``[A]`` of consecutive steps of one environment to MuJoCo's controls ``[nu]`` in these steps."""


def describe_task(task: LoadedTask, groups: Sequence[str], commands: Commands) -> dict[str, Any]:
    """Return ``obs_terms`` and, for robots whose joints are position-controlled, ``actions`` and ``robot``.

    ``groups`` have Playground's names. What the task does not reveal is left out.
    """
    found: dict[str, Any] = {}
    terms = [observation_terms(task.env, task.simulation.reset, group) for group in groups]
    if all(terms):
        found["obs_terms"] = [term for group in terms if group is not None for term in group]
    joints = _position_controlled_joints(task.env.mj_model)
    command = None if joints is None else _affine_command(commands, int(task.env.action_size))
    if joints is not None and command is not None:
        offset, scale = command
        found |= _robot(task.env.mj_model, joints, offset, scale)
    return found


def _position_controlled_joints(model: Any) -> list[int] | None:
    """Return the joint of each actuator if all are position controllers of a joint, else None."""
    is_joint = model.actuator_trntype == JOINT_TRANSMISSION
    gain, bias = model.actuator_gainprm[:, 0], model.actuator_biasprm
    is_position = (model.actuator_gaintype == FIXED_GAIN) & (model.actuator_biastype == AFFINE_BIAS)
    is_position &= (bias[:, 0] == 0.0) & (bias[:, 1] == -gain) & (gain > 0.0)
    if not (is_joint & is_position).all():
        return None
    return model.actuator_trnid[:, 0].tolist()


def _affine_command(commands: Commands, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return offset and scale ``[A]`` of the commands ``offset + scale * action``, None if they are not of this form.

    Playground's tasks do not publish how they map actions to commands, so it is observed in three steps.
    """
    probe = np.linspace(-0.5, 0.5, size)
    at_zero, at_quarter, at_probe = commands([np.zeros(size), np.full(size, 0.25), probe])
    if at_zero.shape != (size,):
        return None
    scale = 4.0 * (at_quarter - at_zero)
    return (at_zero, scale) if np.allclose(at_probe, at_zero + scale * probe, atol=1e-4) else None


def _robot(model: Any, joints: Sequence[int], offset: np.ndarray, scale: np.ndarray) -> dict[str, Any]:
    names = [mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_JOINT, joint) for joint in joints]  # pyright: ignore[reportAttributeAccessIssue]
    limits = np.where(model.jnt_limited[joints, None], model.jnt_range[joints], [-np.inf, np.inf])
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.sort((limits - offset[:, None]) / scale[:, None], axis=1).T
    action = {
        "name": "joint_pos",
        "kind": "JointPositionAction",
        "joint_names": names,
        "joint_ids": list(range(len(names))),
        "scale": _numbers(scale),
        "offset": _numbers(offset),
        "clip": None,
        "limits": _numbers(ends) if np.isfinite(ends).all() else None,
    }
    robot = {
        "joint_names": names,
        "default_joint_pos": _numbers(offset),
        "stiffness": _numbers(model.actuator_gainprm[:, 0]),
        # Playground's models have the controllers' damping in the joints
        "damping": _numbers(model.dof_damping[model.jnt_dofadr[joints]] - model.actuator_biasprm[:, 2]),
    }
    return {"actions": [action], "robot": robot}


def _numbers(values: np.ndarray) -> Any:
    return as_numbers(np.asarray(values, np.float32))
