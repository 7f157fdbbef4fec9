# SPDX-License-Identifier: BSD-3-Clause
"""What a deployed policy reads and sets, as the metadata of its ONNX file tells it. Needs numpy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class ContractError(ValueError):
    """An exported policy that does not tell what it reads, or observations that are not what it reads."""


@dataclass(frozen=True)
class ObservationTerm:
    """One part of the observation."""

    name: str
    size: int
    """Numbers of one frame."""
    history: int = 1
    """Frames that the policy sees, the oldest first."""
    scale: float | tuple[float, ...] = 1.0
    """What a frame is multiplied with before the policy sees it."""
    clip: tuple[float, float] | None = None
    """Bounds that a frame is clipped to before that."""
    function: str = ""
    """What the environment computes it with; empty where it does not tell."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Options of that function."""

    @property
    def total(self) -> int:
        """Numbers in the observation."""
        return self.size * self.history


@dataclass(frozen=True)
class JointAction:
    """What some of the actions command: ``offset + scale * action`` of as many joints."""

    name: str
    kind: str
    """Class of the environment's action term, as ``JointPositionAction``."""
    joint_names: tuple[str, ...]
    joint_ids: tuple[int, ...]
    """Positions of the joints among the robot's."""
    scale: Array
    """``[A]``."""
    offset: Array
    """``[A]``."""
    clip: Array | None
    """Bounds of the commands ``[A, 2]``; None where there are none."""
    limits: Array | None
    """Lowest and highest actions ``[2, A]`` that the joints can follow; None where they have no limits."""

    def commands(self, actions: Array) -> Array:
        """Return what actions ``[A]`` of these joints command, ``[A]``, in the joints' units."""
        commands = self.offset + self.scale * actions
        if self.clip is not None:
            commands = np.clip(commands, self.clip[:, 0], self.clip[:, 1])
        return commands.astype(np.float32)


@dataclass(frozen=True)
class Robot:
    """The robot that a policy was trained on; values are in the order of its joints in the simulator."""

    joint_names: tuple[str, ...]
    default_joint_pos: Array
    """Radians or metres."""
    stiffness: Array
    """Of the joints' position controllers, zero for joints without one; N m/rad or N/m."""
    damping: Array
    """N m s/rad or N s/m."""
    motor_names: tuple[str, ...] | None = None
    """Names of the joints in the order of the robot's interface; None where the environment does not tell."""


@dataclass(frozen=True)
class Contract:
    """What a policy reads and sets."""

    task: str
    algorithm: str
    terms: tuple[ObservationTerm, ...]
    """The observation, in order."""
    actions: tuple[JointAction, ...]
    """The actions, in order; empty where the environment does not tell."""
    action_low: Array | None
    """Bounds of the actions ``[A]``, those of training or else the joints' own; None where there are none."""
    action_high: Array | None
    obs_mean: Array | None
    """Statistics of the observations in training ``[O]``, scaled as the policy sees them; None if unknown."""
    obs_std: Array | None
    control_period_s: float | None
    """Seconds from one action to the next in training."""
    robot: Robot | None
    """None where the environment does not tell."""
    commands: Mapping[str, Any]
    """Ranges of the commands that the policy was trained to follow, by name."""

    @property
    def num_obs(self) -> int:
        """Size ``O`` of the observation."""
        return sum(term.total for term in self.terms)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Contract:
        """Read the entries of an ONNX file.

        Raises:
            ContractError: If it does not tell the observation, or an entry is not what it should be.
        """
        values = {name: _value(entry) for name, entry in metadata.items()}
        if "obs_dims" not in values:
            raise ContractError(
                "The file does not tell which observations its policy reads (no obs_dims in its metadata). Export the "
                "checkpoint again with scripts/export.py."
            )
        try:
            terms = values.get("obs_terms") or [{"name": n, "size": s} for n, s in values["obs_dims"].items()]
            actions = tuple(_action(**action) for action in values.get("actions") or ())
            low, high = _array(values.get("action_low")), _array(values.get("action_high"))
            if low is None and high is None and actions and all(action.limits is not None for action in actions):
                low, high = np.concatenate([action.limits for action in actions if action.limits is not None], axis=1)
            return cls(
                task=str(values.get("task", "")),
                algorithm=str(values.get("algorithm", "")),
                terms=tuple(_term(**term) for term in terms),
                actions=actions,
                action_low=low,
                action_high=high,
                obs_mean=_array(values.get("obs_mean")),
                obs_std=_array(values.get("obs_std")),
                control_period_s=values.get("control_period_s"),
                robot=_robot(**values["robot"]) if values.get("robot") else None,
                commands=values.get("commands") or {},
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise ContractError(f"The file's metadata cannot be read: {error}.") from error


def as_numbers(values: Array) -> Any:
    """Return float32 values as the shortest Python numbers that mean the same, in lists as the array is nested."""
    return [as_numbers(row) for row in values] if values.ndim else float(str(values[()]))


def _term(
    name: str,
    size: int,
    history: int = 1,
    scale: float | list[float] = 1.0,
    clip: list[float] | None = None,
    function: str = "",
    params: Mapping[str, Any] | None = None,
) -> ObservationTerm:
    if size < 1 or history < 1 or (isinstance(scale, list) and len(scale) != size):
        raise ValueError(f"observation term {name!r} of size {size}, history {history} and scale {scale}")
    scales = tuple(scale) if isinstance(scale, list) else float(scale)
    ends = None if clip is None else (float(clip[0]), float(clip[1]))
    return ObservationTerm(name, int(size), int(history), scales, ends, function, params or {})


def _action(joint_names: list[str], joint_ids: list[int], **values: Any) -> JointAction:
    arrays = {name: _array(values.pop(name, None)) for name in ("scale", "offset", "clip", "limits")}
    return JointAction(joint_names=tuple(joint_names), joint_ids=tuple(joint_ids), **arrays, **values)


def _robot(joint_names: list[str], motor_names: list[str] | None = None, **values: Any) -> Robot:
    arrays = {name: np.asarray(value, np.float32) for name, value in values.items()}
    return Robot(tuple(joint_names), motor_names=None if motor_names is None else tuple(motor_names), **arrays)


def _array(values: list[Any] | None) -> Array | None:
    return None if values is None else np.asarray(values, np.float32)


def _value(entry: Any) -> Any:
    """Return what a file's entry says; other metadata than a file's holds values already."""
    if not isinstance(entry, str):
        return entry
    try:
        return json.loads(entry)
    except json.JSONDecodeError:
        return entry
