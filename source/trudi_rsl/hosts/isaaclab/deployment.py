# SPDX-License-Identifier: BSD-3-Clause
"""What an environment of Isaac Lab tells of the robot that its policy is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trudi_rsl.hosts.isaaclab.action_terms import as_tensor, term_bounds
from trudi_rsl.hosts.manager_terms import affine_action, describe_managers, joint_action_kind, numbers


def describe(env: Any, groups: Sequence[str]) -> dict[str, Any]:
    """Return observation terms, actions, commands and the robot of an environment with managers.

    Args:
        env: The unwrapped environment.
        groups: Observation groups that the policy sees.
    """
    return describe_managers(env, groups, _action, lambda term: _robot(term._asset))


def _action(name: str, term: Any) -> dict[str, Any] | None:
    if joint_action_kind(term) is None:
        return None
    ids = term._joint_ids
    if isinstance(ids, slice):
        ids = range(len(term._asset.joint_names))[ids]
    return affine_action(name, term, term._joint_names, list(ids), term_bounds(term))


def _robot(asset: Any) -> dict[str, Any]:
    robot: dict[str, Any] = {
        "joint_names": list(asset.joint_names),
        "default_joint_pos": numbers(as_tensor(asset.data.default_joint_pos)[0]),
        # what the simulator itself has of them is zero for actuators that compute their torques
        "stiffness": numbers(_gains(asset, "stiffness")),
        "damping": numbers(_gains(asset, "damping")),
    }
    # Unitree's configurations name the motors in the order of the robot's interface
    if (motors := getattr(asset.cfg, "joint_sdk_names", None)) is not None:
        robot["motor_names"] = list(motors)
    return robot


def _gains(asset: Any, name: str) -> Tensor:
    gains = torch.zeros(len(asset.joint_names))
    for actuator in asset.actuators.values():
        ids = actuator.joint_indices
        ids = ids if isinstance(ids, slice) else torch.as_tensor(ids).long().cpu()
        # tasks that randomise gains do so around the nominal ones
        gains[ids] = as_tensor(getattr(actuator, name)).median(0).values.cpu()
    return gains
