# SPDX-License-Identifier: BSD-3-Clause
"""Action bounds and robot metadata of Isaac Lab's environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trudi_rsl.hosts.manager_terms import describe_managers, joint_range, numbers, raw_bounds

NO_LIMIT = 1.0e3
"""Joint limits of at least this magnitude (radians or metres) mean no limit."""


def term_bounds(term: Any) -> tuple[Tensor, Tensor] | None:
    """Return lower and upper raw actions ``[A_term]`` of an action term, None if it has no natural bounds.

    Those of joint positions ``offset + scale * action`` command the ends of the joints' ranges (a half turn to each
    side for joints without limits), or of the term's own clip where that is tighter.
    """
    if not any(cls.__name__ == "JointPositionAction" for cls in type(term).__mro__):
        return None
    limits = _as_tensor(term._asset.data.joint_pos_limits)[0][term._joint_ids]
    low, high = joint_range(limits, limits.abs() < NO_LIMIT, term._offset)
    return raw_bounds(low, high, term._offset, term._scale, None if term.cfg.clip is None else term._clip)


def _as_tensor(values: Any) -> Tensor:
    return getattr(values, "torch", values)  # Isaac Lab 3.0 wraps the simulator's data


def describe(env: Any, groups: Sequence[str]) -> dict[str, Any]:
    """Return observation terms, actions, commands and the robot; see :func:`describe_managers`."""
    return describe_managers(env, groups, _joints, term_bounds, lambda term: _robot_parts(term._asset))


def _joints(term: Any) -> tuple[Sequence[str], Sequence[int]]:
    ids = term._joint_ids
    return term._joint_names, range(len(term._asset.joint_names))[ids] if isinstance(ids, slice) else ids


def _robot_parts(asset: Any) -> dict[str, Callable[[], Any]]:
    return {
        "joint_names": lambda: list(asset.joint_names),
        "default_joint_pos": lambda: numbers(_as_tensor(asset.data.default_joint_pos)[0]),
        "stiffness": lambda: numbers(_gains(asset, "stiffness")),
        "damping": lambda: numbers(_gains(asset, "damping")),
        # Unitree's configurations list the motors in the order of the robot's interface.
        "motor_names": lambda: getattr(asset.cfg, "joint_sdk_names", None) and list(asset.cfg.joint_sdk_names),
    }


NEWTON_GAINS = {"stiffness": "kp", "damping": "kd"}
"""Names of the gains to those of Newton's controllers."""


def _gains(asset: Any, name: str) -> Tensor:
    """Return nominal gains ``[J]`` of the actuators; the simulator's are 0 for actuators that compute torques.

    Raises:
        ValueError: Actuators have no such gain, since a network computes their torques.
    """
    gains = torch.zeros(len(asset.joint_names))
    for group, actuator in asset.actuators.items():
        if getattr(asset.cfg.actuators[group], "network_file", None) is not None:
            raise ValueError(f"a network computes the torques of the actuators {group!r}")
        if hasattr(actuator, "joint_indices"):
            ids, values = actuator.joint_indices, _as_tensor(getattr(actuator, name))
        else:
            ids, values = _newton_gain(asset, group, NEWTON_GAINS[name])
        ids = ids if isinstance(ids, slice) else torch.as_tensor(ids).long().cpu()
        # Tasks randomise gains around the nominal ones.
        gains[ids] = values.median(0).values.cpu()
    return gains


def _newton_gain(asset: Any, group: str, gain: str) -> tuple[list[int], Tensor]:
    """Return the joints ``[K]`` of actuators that Newton computes (Isaac Lab 3.0), and their gains ``[E, K]``."""
    from isaaclab.actuators.newton import read_group_parameter  # pyright: ignore[reportMissingImports]

    _, names = asset.find_joints(asset.cfg.actuators[group].joint_names_expr)
    ids = [asset.joint_names.index(name) for name in names]
    return ids, read_group_parameter(asset.actuators, group, "controller", gain)
