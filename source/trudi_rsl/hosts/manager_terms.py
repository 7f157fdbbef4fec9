# SPDX-License-Identifier: BSD-3-Clause
"""Bounds and metadata of manager-based environments, whose managers Isaac Lab and mjlab share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trudi_rsl.deploy.contract import as_numbers
from trudi_rsl.errors import one_line

JOINT_ACTIONS = ("JointPositionAction", "JointVelocityAction", "JointEffortAction")
"""Action terms of both hosts that command ``offset + scale * action`` of joints. In other terms, such as relative joint
positions or end-effector poses, attributes of the same names have another meaning."""


def raw_bounds(
    low: Tensor, high: Tensor, offset: Tensor | float, scale: Tensor | float, clip: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the lower and upper raw actions ``[A]`` that command the ends of the range ``low`` to ``high`` ``[A]``.

    Offset and scale are one number or ``[E, A]``, of which the first row is used; a negative scale reverses the axis.
    ``clip`` ``[E, A, 2]`` is the term's own limits of the commands.
    """
    if clip is not None:
        low, high = torch.maximum(low, clip[0, :, 0]), torch.minimum(high, clip[0, :, 1])
    offset, scale = _first_row(offset, low), _first_row(scale, low)
    ends = torch.stack(((low - offset) / scale, (high - offset) / scale))
    return ends.amin(0), ends.amax(0)


def joint_range(limits: Tensor, limited: Tensor, offset: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return the ends ``[A]`` of ``limits`` ``[A, 2]`` (rad), a half turn from the offset where not ``limited``."""
    turn = _first_row(offset, limits)[:, None] + limits.new_tensor([-math.pi, math.pi])
    low, high = torch.where(limited, limits, turn).unbind(-1)
    return low, high


def _first_row(values: Tensor | float, like: Tensor) -> Tensor:
    """Return ``[A]`` values of an attribute that is one number or ``[E, A]``; ``like`` is ``[A, ...]``."""
    return values[0] if isinstance(values, Tensor) else like.new_full((like.shape[0],), values)


def numbers(values: Tensor) -> Any:
    """Return values as nested lists of the shortest Python numbers that round to their float32."""
    return as_numbers(values.detach().cpu().numpy().astype(np.float32))


def readable(parts: Mapping[str, Callable[[], Any]], unreadable: dict[str, str], prefix: str = "") -> dict[str, Any]:
    """Return the parts of a description that can be read, None values left out.

    Managers, terms and actuators of projects and later versions may lack anything, and training needs none of it.

    Args:
        parts: Name of each part to the function that reads it.
        unreadable: Receives the names of the others and the reasons.
        prefix: Put before these names.
    """
    found = {}
    for name, read in parts.items():
        try:
            value = read()
        except Exception as error:
            unreadable[prefix + name] = one_line(f"{type(error).__name__}: {error}")
        else:
            if value is not None:
                found[name] = value
    return found


def describe_managers(
    env: Any,
    groups: Sequence[str],
    term_joints: Callable[[Any], tuple[Sequence[str], Sequence[int]]],
    term_bounds: Callable[[Any], tuple[Tensor, Tensor] | None],
    robot_parts: Callable[[Any], Mapping[str, Callable[[], Any]]],
) -> dict[str, Any]:
    """Return the metadata of a manager-based environment for an exported policy.

    Args:
        env: The unwrapped environment.
        groups: Observation groups of the policy.
        term_joints: Maps an action term to the names of its joints and their indices among the robot's.
        term_bounds: Maps an action term to the lowest and highest action ``[A]`` that its joints can follow.
        robot_parts: Maps an action term to the functions that read the parts of its robot.

    Returns:
        ``obs_terms``, ``commands`` and, if all action terms command joints, ``actions`` and ``robot``; and
        ``unreadable``, the names of parts that could not be read (``robot.stiffness``) and the reasons, if there are
        any.
    """
    unreadable: dict[str, str] = {}

    def joint_terms() -> list[tuple[str, Any]]:
        manager = env.action_manager
        terms = [(name, manager.get_term(name)) for name in manager.active_terms]
        return terms if all(joint_action_kind(term) for _, term in terms) else []

    def actions() -> list[dict[str, Any]] | None:
        terms = joint_terms()
        return [_affine_action(name, term, *term_joints(term), term_bounds(term)) for name, term in terms] or None

    def robot() -> dict[str, Any] | None:
        terms = joint_terms()
        parts = readable(robot_parts(terms[0][1]), unreadable, "robot.") if terms else {}
        # the others are in the order of the joints
        return parts if "joint_names" in parts else None

    parts = {
        "obs_terms": lambda: _observation_terms(env.observation_manager, groups),
        "commands": lambda: _command_ranges(env.command_manager),
        "actions": actions,
        "robot": robot,
    }
    found = readable(parts, unreadable)
    return found | ({"unreadable": unreadable} if unreadable else {})


def _observation_terms(manager: Any, groups: Sequence[str]) -> list[dict[str, Any]]:
    """Return the terms of observation groups in the order of the observation, as ``deploy.Contract`` reads them.

    A group is described as a single term if its terms are not concatenated one after the other, each with its history,
    or if modifiers other than clip and scale apply.
    """
    found = []
    for group in groups:
        cfgs, dims = manager._group_obs_term_cfgs[group], manager.group_obs_term_dim[group]
        time_major = getattr(manager, "_group_obs_time_major", {}).get(group, False)
        # A modifier may have a state of its own, as filters do.
        modified = any(getattr(cfg, "modifiers", None) for cfg in cfgs)
        flat = all(len(dim) == 1 for dim in dims) and not time_major and not modified
        if not manager.group_obs_concatenate[group] or not flat:
            found.append({"name": group, "size": sum(math.prod(dim) for dim in dims)})
            continue
        names = manager.active_terms[group]
        found += [_term(name, cfg, dim[0]) for name, cfg, dim in zip(names, cfgs, dims, strict=True)]
    return found


def _term(name: str, cfg: Any, total: int) -> dict[str, Any]:
    history = max(1, cfg.history_length or 0)
    term: dict[str, Any] = {"name": name, "size": total // history, "history": history}
    if cfg.scale is not None:
        scale = numbers(cfg.scale if isinstance(cfg.scale, Tensor) else torch.tensor(cfg.scale))
        # A single number applies to all entries.
        term["scale"] = scale[0] if isinstance(scale, list) and len(scale) == 1 != term["size"] else scale
    if cfg.clip is not None:
        term["clip"] = [float(end) for end in cfg.clip]
    params: dict[str, Any] = {k: v for k, v in (cfg.params or {}).items() if isinstance(v, (str, int, float, bool))}
    joints = getattr((cfg.params or {}).get("asset_cfg"), "joint_ids", None)
    if joints is not None and not isinstance(joints, slice):
        params["asset_cfg"] = {"joint_ids": list(map(int, joints))}
    return term | {"function": getattr(cfg.func, "__name__", type(cfg.func).__name__), "params": params}


def _command_ranges(manager: Any) -> dict[str, Any]:
    """Return the ranges from which commands are drawn, by command name; commands without ranges are left out."""
    found = {}
    for name in manager.active_terms:
        cfg = manager.get_term(name).cfg
        ranges = getattr(cfg, "limit_ranges", None) or getattr(cfg, "ranges", None)
        if dataclasses.is_dataclass(ranges) and not isinstance(ranges, type):
            found[name] = {part: pair and [float(end) for end in pair] for part, pair in vars(ranges).items()}
    return found


def joint_action_kind(term: Any) -> str | None:
    """Return which of :data:`JOINT_ACTIONS` an action term is or derives from, None if it is none of them."""
    return next((cls.__name__ for cls in type(term).__mro__ if cls.__name__ in JOINT_ACTIONS), None)


def _affine_action(
    name: str, term: Any, joint_names: Sequence[str], joint_ids: Sequence[int], limits: tuple[Tensor, Tensor] | None
) -> dict[str, Any]:
    """Return the description of an action term that commands ``offset + scale * action`` of its joints."""
    like = torch.zeros(len(joint_names))
    return {
        "name": name,
        "kind": joint_action_kind(term),
        "joint_names": list(joint_names),
        "joint_ids": list(map(int, joint_ids)),
        "scale": numbers(_first_row(term._scale, like)),
        "offset": numbers(_first_row(term._offset, like)),
        "clip": None if term.cfg.clip is None else numbers(term._clip[0]),
        "limits": None if limits is None else [numbers(limits[0]), numbers(limits[1])],
    }
