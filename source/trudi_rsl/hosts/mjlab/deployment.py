# SPDX-License-Identifier: BSD-3-Clause
"""What an environment of mjlab tells of the robot that its policy is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trudi_rsl.hosts.manager_terms import affine_action, describe_managers, joint_action_kind, numbers
from trudi_rsl.hosts.mjlab.action_terms import term_bounds

AFFINE_BIAS = 1
"""MuJoCo's ``mjBIAS_AFFINE``: the actuator's force also depends on position and velocity."""


def describe(env: Any, groups: Sequence[str]) -> dict[str, Any]:
    """Return observation terms, actions, commands and the robot of an environment.

    Args:
        env: The unwrapped environment.
        groups: Observation groups that the policy sees.
    """
    return describe_managers(env, groups, _action, lambda term: _robot(term._entity, env.sim.mj_model))


def _action(name: str, term: Any) -> dict[str, Any] | None:
    if joint_action_kind(term) is None:
        return None
    return affine_action(name, term, term.target_names, term.target_ids.tolist(), term_bounds(term))


def _robot(entity: Any, model: Any) -> dict[str, Any]:
    stiffness, damping = _gains(entity, model)
    return {
        "joint_names": list(entity.joint_names),
        "default_joint_pos": numbers(entity.data.default_joint_pos[0]),
        "stiffness": numbers(stiffness),
        "damping": numbers(damping),
    }


def _gains(entity: Any, model: Any) -> tuple[Tensor, Tensor]:
    """Return stiffness and damping of the joints' position controllers, zero for joints without one.

    They are the model's, or, for actuators that mjlab computes the torques of, those of their configuration.
    """
    names = list(entity.joint_names)
    stiffness, damping = torch.zeros(len(names)), torch.zeros(len(names))
    for actuator in entity.spec.actuators:
        joint = actuator.target.split("/")[-1]
        # force = gain * ctrl + bias_0 + bias_1 * position + bias_2 * velocity
        if joint in names and model.actuator_biastype[actuator.id] == AFFINE_BIAS:
            _, of_position, of_velocity = model.actuator_biasprm[actuator.id, :3]
            stiffness[names.index(joint)] -= of_position
            damping[names.index(joint)] -= of_velocity
    for actuator in entity.actuators:
        joints = [names.index(name) for name in actuator.target_names if name in names]
        for gains, name in ((stiffness, "stiffness"), (damping, "damping")):
            own = float(getattr(actuator.cfg, name, 0.0))
            gains[joints] = torch.where(gains[joints] == 0.0, own, gains[joints])
    return stiffness, damping
