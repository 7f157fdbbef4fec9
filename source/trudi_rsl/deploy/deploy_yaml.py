# SPDX-License-Identifier: BSD-3-Clause
"""``deploy.yaml``: a policy's contract in the format of unitree_rl_lab's C++ runner.

In this format ``joint_ids_map`` holds the motor of each simulator joint; stiffness and damping are in motor order,
everything else is in the simulator's joint order. Observations and actions are named after the runner's own functions
and classes, observations in the policy's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import yaml

from trudi_rsl.deploy.contract import Array, Contract, ContractError, JointAction, ObservationTerm, Robot, as_numbers
from trudi_rsl.errors import one_line

OBSERVATIONS = (
    *("base_ang_vel", "projected_gravity", "velocity_commands"),
    *("joint_pos_rel", "joint_vel_rel", "last_action", "gait_phase"),
)
"""Observations of the runner."""

ACTIONS = ("JointPositionAction", "JointVelocityAction")
"""Action terms of the runner."""

COMMAND = "base_velocity"
"""The runner's only command, from a joystick."""


def deploy_yaml(metadata: Mapping[str, Any]) -> str | None:
    """Return the text of ``deploy.yaml``, None for a policy whose robot or control period is not known.

    A comment at the top lists the observations and actions that the runner does not provide, and what could not be read
    from the simulator and is missing. The metadata are the entries of an ONNX file, as values or as text.

    Raises:
        ContractError: If the format cannot express the contract: two terms of one kind, or a joint without a motor.
    """
    if not metadata.get("robot") or not metadata.get("actions") or "obs_dims" not in metadata:
        return None
    contract = Contract.from_metadata(metadata)
    robot = contract.robot
    if robot is None or contract.control_period_s is None:
        return None
    motors = _motor_of_joint(robot)
    observations = _by_name((_observation_name(term), _observation(term)) for term in contract.terms)
    actions = _by_name((action.kind, _action(action, robot)) for action in contract.actions)
    velocity = next((dict(ranges) for ranges in contract.commands.values() if "lin_vel_x" in ranges), None)
    content = {
        "joint_ids_map": motors,
        "step_dt": contract.control_period_s,
        "stiffness": None if robot.stiffness is None else _in_motor_order(robot.stiffness, motors),
        "damping": None if robot.damping is None else _in_motor_order(robot.damping, motors),
        "default_joint_pos": None if robot.default_joint_pos is None else as_numbers(robot.default_joint_pos),
        "commands": {} if velocity is None else {COMMAND: {"ranges": velocity}},
        "actions": actions,
        "observations": observations,
    }
    missing = [name for name in ("stiffness", "damping", "default_joint_pos") if content[name] is None]
    content = {name: value for name, value in content.items() if name not in missing}
    notes = [f"# {contract.algorithm} on {contract.task}"]
    if missing:
        notes.append(f"# Missing, and needed by unitree_rl_lab's runner: {', '.join(missing)}. Add it.")
    notes += [f"# {name} could not be read: {reason}" for name, reason in contract.unreadable.items()]
    unknown = [name for name in (*observations, *actions) if name not in OBSERVATIONS + ACTIONS]
    if unknown:
        notes.append(f"# unitree_rl_lab's runner does not have: {', '.join(unknown)}. Add it there.")
    if robot.motor_names is None:
        notes.append("# The task does not define the order of the motors; joint_ids_map is that of its joints.")
    # names come from a file; a line break in one would continue as YAML
    head = "".join(f"{one_line(note)}\n" for note in notes)
    return head + yaml.safe_dump(content, default_flow_style=None, sort_keys=False, width=120)


def _by_name(entries: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, entry in entries:
        if name in result:
            raise ContractError(f"unitree_rl_lab's runner supports only one {name}, the task has several")
        result[name] = entry
    return result


def _motor_of_joint(robot: Robot) -> list[int]:
    """Return the index of each joint's motor."""
    motors = robot.joint_names if robot.motor_names is None else robot.motor_names
    missing = [name for name in robot.joint_names if name not in motors]
    if missing:
        raise ContractError(f"the task names no motor for {', '.join(missing)}")
    return [motors.index(name) for name in robot.joint_names]


def _observation_name(term: ObservationTerm) -> str:
    """Return the runner's name of an observation, or the task's own if the runner has none."""
    if term.function == "generated_commands":
        return "velocity_commands"
    return term.function if term.function in OBSERVATIONS else term.name


def _observation(term: ObservationTerm) -> dict[str, Any]:
    params = {name: COMMAND if name == "command_name" else value for name, value in term.params.items()}
    scales = term.scale if isinstance(term.scale, tuple) else (term.scale,) * term.size
    clip = None if term.clip is None else list(term.clip)
    return {"params": params, "clip": clip, "scale": list(scales), "history_length": term.history}


def _action(action: JointAction, robot: Robot) -> dict[str, Any]:
    all_joints = action.joint_ids == tuple(range(len(robot.joint_names)))
    return {
        "clip": None if action.clip is None else as_numbers(action.clip),
        "joint_names": list(action.joint_names),
        "scale": as_numbers(action.scale),
        "offset": as_numbers(action.offset),
        "joint_ids": None if all_joints else list(action.joint_ids),
    }


def _in_motor_order(values: Array, motors: list[int]) -> list[float]:
    ordered = np.zeros(max(motors) + 1, np.float32)
    ordered[motors] = values
    return as_numbers(ordered)
