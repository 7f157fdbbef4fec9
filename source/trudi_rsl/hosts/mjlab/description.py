# SPDX-License-Identifier: BSD-3-Clause
"""Action bounds and robot metadata of mjlab's environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mjlab.envs import ManagerBasedRlEnv  # pyright: ignore[reportMissingImports]
from mjlab.envs.mdp.actions import JointPositionAction  # pyright: ignore[reportMissingImports]
from mjlab.rl.exporter_utils import get_base_metadata, list_to_csv_str  # pyright: ignore[reportMissingImports]
from torch import Tensor

from trudi_rsl.hosts.manager_terms import describe_managers, joint_range, numbers, raw_bounds

JOINT_TRANSMISSION = 0
"""MuJoCo's ``mjTRN_JOINT``: the actuator acts on a joint."""
AFFINE_BIAS = 1
"""MuJoCo's ``mjBIAS_AFFINE``: the actuator's force also depends on position and velocity."""


def term_bounds(term: Any) -> tuple[Tensor, Tensor] | None:
    """Return lower and upper raw actions ``[A_term]`` of an action term, None if it has no natural bounds.

    Those of joint positions and efforts ``offset + scale * action`` command the ends of the joints' ranges (a half turn
    to each side for joints without limits) or the actuators' largest efforts, or of the term's own clip where that is
    tighter.
    """
    kind = type(term).__name__
    if kind == "JointPositionAction":
        ranges = term._entity.data.joint_pos_limits[0][term.target_ids]
        limits = joint_range(ranges, ranges.isfinite(), term.offset)
    else:
        limits = _effort_range(term) if kind == "JointEffortAction" else None
    if limits is None:
        return None
    return raw_bounds(*limits, term.offset, term.scale, None if term.cfg.clip is None else term._clip)


def _effort_range(term: Any) -> tuple[Tensor, Tensor] | None:
    """Return the effort limits of the joints' actuators, None if one of them has none."""
    model = term._env.sim.mj_model
    ranges = []
    for joint in term._entity.indexing.joint_ids[term.target_ids].tolist():
        actuators = (model.actuator_trntype == JOINT_TRANSMISSION) & (model.actuator_trnid[:, 0] == joint)
        limits = [
            *model.actuator_ctrlrange[actuators & (model.actuator_ctrllimited > 0)],
            *model.actuator_forcerange[actuators & (model.actuator_forcelimited > 0)],
        ]
        if not limits:
            return None
        ranges.append(limits[0].tolist())
    low, high = term.raw_action.new_tensor(ranges).unbind(-1)
    return low, high


def describe(env: Any, groups: Sequence[str]) -> dict[str, Any]:
    """Return observation terms, actions, commands and the robot; see :func:`describe_managers`."""
    return describe_managers(
        env,
        groups,
        lambda term: (term.target_names, term.target_ids.tolist()),
        term_bounds,
        lambda term: _robot_parts(term._entity, env.sim.mj_model),
    )


def _robot_parts(entity: Any, model: Any) -> dict[str, Callable[[], Any]]:
    return {
        "joint_names": lambda: list(entity.joint_names),
        "default_joint_pos": lambda: numbers(entity.data.default_joint_pos[0]),
        "stiffness": lambda: numbers(_gains(entity, model, "stiffness", 1)),
        "damping": lambda: numbers(_gains(entity, model, "damping", 2)),
    }


def _gains(entity: Any, model: Any, name: str, bias: int) -> Tensor:
    """Return gains ``[J]`` of the joints' position controllers, 0 where there is none.

    They are those of the model, in an entry of its actuators' biases, or of the configuration for actuators whose
    torques mjlab computes.
    """
    names = list(entity.joint_names)
    gains = torch.zeros(len(names))
    for actuator in entity.spec.actuators:
        joint = actuator.target.split("/")[-1]
        # force = gain * ctrl + bias_0 + bias_1 * position + bias_2 * velocity
        if joint in names and model.actuator_biastype[actuator.id] == AFFINE_BIAS:
            gains[names.index(joint)] -= model.actuator_biasprm[actuator.id, bias]
    for actuator in entity.actuators:
        joints = [names.index(target) for target in actuator.target_names if target in names]
        own = float(getattr(actuator.cfg, name, 0.0))
        gains[joints] = torch.where(gains[joints] == 0.0, own, gains[joints])
    return gains


def robot_metadata(env: ManagerBasedRlEnv, run: str) -> dict[str, Any] | None:
    """Return mjlab's metadata of a policy, None if mjlab cannot describe the task's robot."""
    described = (
        "robot" in env.scene.entities
        and "joint_pos" in env.action_manager.active_terms
        and isinstance(env.action_manager.get_term("joint_pos"), JointPositionAction)
        and "actor" in env.observation_manager.active_terms
    )
    return get_base_metadata(env, run) if described else None


def as_text(metadata: dict[str, Any]) -> dict[str, str]:
    """Return metadata in the text form in which mjlab writes it to a file."""
    return {name: list_to_csv_str(value) if isinstance(value, list) else str(value) for name, value in metadata.items()}
