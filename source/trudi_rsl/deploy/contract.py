# SPDX-License-Identifier: BSD-3-Clause
"""The inputs and outputs of a deployed policy, read from the metadata of its ONNX file. Needs only numpy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trudi_rsl.errors import one_line
from trudi_rsl.plain_values import IMAGE_TYPES, is_count, is_finite

Array = NDArray[np.float32]

MAX_NUMBERS = 1_000_000
"""Upper limit of the size of an observation term with its history, or of an image."""
MAX_PERIOD_S = 3600.0


class ContractError(ValueError):
    """Metadata without a usable contract, or observations that do not match the contract."""


@dataclass(frozen=True)
class ObservationTerm:
    """One part of the observation."""

    name: str
    size: int
    """Values per frame."""
    history: int = 1
    """Number of frames in the observation, oldest first."""
    scale: float | tuple[float, ...] = 1.0
    """Factor applied to a frame, after clipping."""
    clip: tuple[float, float] | None = None
    """Lower and upper bound of a frame, before scaling."""
    function: str = ""
    """Function of the environment that computes the term; empty if unknown."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of that function."""

    @property
    def total(self) -> int:
        """Values in the observation."""
        return self.size * self.history


@dataclass(frozen=True)
class ImageInput:
    """An observation group of images."""

    name: str
    shape: tuple[int, int, int]
    """``(C, H, W)``."""
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Memory:
    """The state of a policy that remembers, zero at an episode's start."""

    names: tuple[str, ...]
    """Its parts: ``h`` and, for an LSTM, ``c``, which the file takes as ``h_in`` and returns as ``h_out``."""
    shape: tuple[int, int, int]
    """Shape ``(N, 1, H)`` of each."""

    def zeros(self) -> dict[str, Array]:
        """Return the state at an episode's start by the names of inputs."""
        return {f"{name}_in": np.zeros(self.shape, np.float32) for name in self.names}


@dataclass(frozen=True)
class JointAction:
    """An action term that commands ``offset + scale * action`` to as many joints."""

    name: str
    kind: str
    """Class of the environment's action term, such as ``JointPositionAction``."""
    joint_names: tuple[str, ...]
    joint_ids: tuple[int, ...]
    """Indices of the joints in the robot."""
    scale: Array
    """``[A]``."""
    offset: Array
    """``[A]``."""
    clip: Array | None
    """Bounds of the commands ``[A, 2]``; None for no bounds."""
    limits: Array | None
    """Lowest and highest actions ``[2, A]`` within the joints' limits; None for no limits."""

    def commands(self, actions: Array) -> Array:
        """Return the commands ``[A]`` of actions ``[A]``, in the joints' units."""
        commands = self.offset + self.scale * actions
        if self.clip is not None:
            commands = np.clip(commands, self.clip[:, 0], self.clip[:, 1])
        return commands.astype(np.float32)


@dataclass(frozen=True)
class Robot:
    """The robot that a policy was trained on; values are in the order of the simulator's joints."""

    joint_names: tuple[str, ...]
    default_joint_pos: Array | None = None
    """Radians or metres; None if unknown."""
    stiffness: Array | None = None
    """Gains of the joints' position controllers, zero for joints without one; N m/rad or N/m; None if unknown."""
    damping: Array | None = None
    """N m s/rad or N s/m; None if unknown."""
    motor_names: tuple[str, ...] | None = None
    """Names of the joints in the order of the robot's interface; None if unknown."""


@dataclass(frozen=True)
class Contract:
    """The inputs and outputs of a policy."""

    task: str
    algorithm: str
    terms: tuple[ObservationTerm, ...]
    """The observation, in order."""
    actions: tuple[JointAction, ...]
    """The actions, in order; empty if unknown."""
    action_low: Array | None
    """Bounds of the actions ``[A]``, those of training or else the joint limits; None for no bounds."""
    action_high: Array | None
    obs_mean: Array | None
    """Statistics of the scaled observations in training ``[O]``; None if unknown."""
    obs_std: Array | None
    control_period_s: float | None
    """Seconds between actions in training; None if unknown."""
    robot: Robot | None
    """None if unknown."""
    commands: Mapping[str, Any]
    """Ranges of the commands that the policy was trained on, by name."""
    images: tuple[ImageInput, ...] = ()
    """The images that the policy sees beside the observation, in order."""
    memory: Memory | None = None
    """None for a policy that depends on the last observation alone."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Names of what could not be read from the simulator, such as ``robot.stiffness``, and the reasons."""

    @property
    def num_obs(self) -> int:
        """Size ``O`` of the observation."""
        return sum(term.total for term in self.terms)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Contract:
        """Parse and validate the metadata of an ONNX file, whose entries are JSON or already parsed.

        Raises:
            ContractError: If the observation is not described, or an entry is invalid.
        """
        try:
            values = {name: _parse(entry) for name, entry in metadata.items()}
            if "obs_dims" not in values:
                raise ValueError("obs_dims is missing; export the checkpoint again with trudi export")
            terms = values.get("obs_terms") or [{"name": n, "size": s} for n, s in values["obs_dims"].items()]
            actions = tuple(_action(**action) for action in values.get("actions") or ())
            low, high = (_array(values.get(name), name, infinite=True) for name in ("action_low", "action_high"))
            limits = [action.limits for action in actions if action.limits is not None]
            if low is None and high is None and actions and len(limits) == len(actions):
                low, high = np.concatenate(limits, axis=1)
            if low is not None and high is not None and not (low <= high).all():
                raise ValueError("an action_low is above its action_high")
            std = _array(values.get("obs_std"), "obs_std")
            if std is not None and not (std >= 0.0).all():
                raise ValueError("obs_std is below 0")
            commands = values.get("commands") or {}
            if not all(isinstance(ranges, Mapping) for ranges in commands.values()):
                raise ValueError("the ranges of a command are not a mapping")
            period = values.get("control_period_s")
            if period is not None and not (is_finite(period) and 0.0 < period < MAX_PERIOD_S):
                raise ValueError(f"a control period of {period!r:.40} s")
            return cls(
                task=str(values.get("task", "")),
                algorithm=str(values.get("algorithm", "")),
                terms=tuple(_term(**term) for term in terms),
                actions=actions,
                action_low=low,
                action_high=high,
                obs_mean=_array(values.get("obs_mean"), "obs_mean"),
                obs_std=std,
                control_period_s=period,
                robot=_robot(**values["robot"]) if values.get("robot") else None,
                commands=commands,
                images=tuple(_image(name, **image) for name, image in (values.get("images") or {}).items()),
                memory=_memory(**values["memory"]) if values.get("memory") else None,
                unreadable={str(name): str(reason) for name, reason in (values.get("unreadable") or {}).items()},
            )
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise ContractError(f"The file's metadata cannot be read: {one_line(error)}.") from error


def as_numbers(values: Array) -> Any:
    """Return float32 values as nested lists of the shortest Python numbers that round to them."""
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
    scales = tuple(scale) if isinstance(scale, list) else float(scale)
    is_sized = is_count(size) and is_count(history) and size * history <= MAX_NUMBERS
    is_scaled = all(map(is_finite, scales)) and len(scales) == size if isinstance(scales, tuple) else is_finite(scales)
    if not (isinstance(name, str) and is_sized and is_scaled):
        raise ValueError(f"observation term {name!r} of size {size}, history {history} and scale {scale}")
    bounds = None
    if clip is not None:
        low, high = map(float, clip)
        if not low <= high:
            raise ValueError(f"observation term {name!r} clipped to {clip}")
        bounds = (low, high)
    if not isinstance(function, str) or not isinstance(params or {}, Mapping):
        raise ValueError(f"observation term {name!r} of function {function!r} with {params!r}")
    return ObservationTerm(name, size, history, scales, bounds, function, params or {})


def _image(name: str, shape: list[int], dtype: str) -> ImageInput:
    if not (len(shape) == 3 and all(map(is_count, shape)) and math.prod(shape) <= MAX_NUMBERS and dtype in IMAGE_TYPES):
        raise ValueError(f"images {name!r} of shape {shape} and type {dtype!r}")
    channels, height, width = shape
    return ImageInput(name, (channels, height, width), np.dtype(dtype))


def _memory(parts: int, num_layers: int, hidden_dim: int) -> Memory:
    sizes = (parts, num_layers, hidden_dim)
    if not (all(map(is_count, sizes)) and parts <= 2 and math.prod(sizes) <= MAX_NUMBERS):
        raise ValueError(f"a memory of {parts} parts of {num_layers} layers with {hidden_dim} numbers")
    return Memory(("h", "c")[:parts], (num_layers, 1, hidden_dim))


def _action(joint_names: list[str], joint_ids: list[int], **values: Any) -> JointAction:
    count = len(joint_names)
    arrays = {name: _array(values.pop(name), name, (count,)) for name in ("scale", "offset")}
    arrays["clip"] = _array(values.pop("clip", None), "clip", (count, 2), infinite=True)
    arrays["limits"] = _array(values.pop("limits", None), "limits", (2, count), infinite=True)
    has_ids = len(joint_ids) == count and all(is_count(i, 0) for i in joint_ids)
    if arrays["scale"] is None or arrays["offset"] is None or not has_ids:
        raise ValueError(f"the action of the joints {joint_names} needs a scale, an offset and an id for each")
    if not all(isinstance(values.get(key), str) for key in ("name", "kind")):
        raise ValueError(f"the action of the joints {joint_names} has no name and kind")
    return JointAction(joint_names=_names(joint_names), joint_ids=tuple(joint_ids), **values, **arrays)  # type: ignore[arg-type]


def _robot(joint_names: list[str], motor_names: list[str] | None = None, **values: Any) -> Robot:
    arrays: Any = {name: _array(value, name, (len(joint_names),)) for name, value in values.items()}
    if any(array is None for array in arrays.values()):
        raise ValueError("a value of the robot's joints is missing")
    return Robot(_names(joint_names), motor_names=None if motor_names is None else _names(motor_names), **arrays)


def _names(values: list[str]) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(name, str) for name in values):
        raise ValueError(f"{values!r} is not a list of names")
    return tuple(values)


def _array(values: Any, name: str, shape: tuple[int, ...] | None = None, infinite: bool = False) -> Array | None:
    """Return values as an array, checked for its shape, NaN and, unless infinity means no bound, infinity."""
    if values is None:
        return None
    with np.errstate(over="ignore"):
        array = np.asarray(values, np.float32)
    if np.isnan(array).any() or not (infinite or np.isfinite(array).all()):
        raise ValueError(f"{name} holds NaN or infinity")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} of shape {array.shape} instead of {shape}")
    return array


def _parse(entry: Any) -> Any:
    """Return the value of a metadata entry: JSON, plain text, or a value that was never serialised."""
    if not isinstance(entry, str):
        return entry
    try:
        return json.loads(entry)
    except json.JSONDecodeError:
        return entry
