# SPDX-License-Identifier: BSD-3-Clause
"""Action terms that command ``offset + scale * action``, as Isaac Lab and mjlab have them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trudi_rsl.deploy.contract import as_numbers


def raw_ends(
    low: Tensor, high: Tensor, offset: Tensor | float, scale: Tensor | float, clip: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the raw actions ``[A]`` that command the ends of a range.

    Args:
        low: Lower end of the commands ``[A]``.
        high: Upper end ``[A]``.
        offset: One number, or one per environment ``[E, A]``, of which the first row counts.
        scale: Likewise; a negative one turns the axis round.
        clip: The term's own limits of the commands ``[E, A, 2]``, None without.
    """
    if clip is not None:
        low, high = torch.maximum(low, clip[0, :, 0]), torch.minimum(high, clip[0, :, 1])
    offset, scale = first_row(offset, low), first_row(scale, low)
    ends = torch.stack(((low - offset) / scale, (high - offset) / scale))
    return ends.amin(0), ends.amax(0)


def first_row(values: Tensor | float, like: Tensor) -> Tensor:
    """Return one value per action ``[A]`` of what hosts keep as one number or one row per environment."""
    return values[0] if isinstance(values, Tensor) else like.new_full((like.shape[0],), values)


JOINT_ACTIONS = ("JointPositionAction", "JointVelocityAction", "JointEffortAction")
"""Action terms of both hosts that command ``offset + scale * action`` of joints; others, as those relative to the
joints' present positions or of an end effector, mean something else by the same attributes."""


def numbers(values: Any) -> Any:
    """Return float32 values as the shortest Python numbers that mean the same, in lists as the tensor is nested."""
    tensor = values if isinstance(values, Tensor) else getattr(values, "torch", None)  # Isaac Lab 3.0 wraps tensors
    return as_numbers(np.asarray(values if tensor is None else tensor.detach().cpu().numpy(), np.float32))


def describe_managers(
    env: Any,
    groups: Sequence[str],
    describe_action: Callable[[str, Any], dict[str, Any] | None],
    describe_robot: Callable[[Any], dict[str, Any]],
) -> dict[str, Any]:
    """Return what an environment with managers tells, as metadata of an exported policy.

    Args:
        env: The unwrapped environment.
        groups: Observation groups that the policy sees.
        describe_action: Given an action term's name and the term, returns what it commands, None if it is not joints.
        describe_robot: Given an action term of joints, returns their robot.
    """
    manager = env.action_manager
    terms = [(name, manager.get_term(name)) for name in manager.active_terms]
    actions = [describe_action(name, term) for name, term in terms]
    told: dict[str, Any] = {
        "obs_terms": observation_terms(env.observation_manager, groups),
        "commands": command_ranges(env.command_manager),
    }
    if actions and None not in actions:
        told |= {"actions": actions, "robot": describe_robot(terms[0][1])}
    return told


def observation_terms(manager: Any, groups: Sequence[str]) -> list[dict[str, Any]]:
    """Return the terms of observation groups in their order in the observation, as ``deploy.Contract`` reads them.

    A group whose terms are not one after the other, each with its history, or are modified by more than clip and scale,
    is told as one term of its own.

    Args:
        manager: The environment's observation manager.
        groups: What the policy sees.
    """
    found = []
    for group in groups:
        cfgs, dims = manager._group_obs_term_cfgs[group], manager.group_obs_term_dim[group]
        time_major = getattr(manager, "_group_obs_time_major", {}).get(group, False)
        # a modifier may hold a state of its own, as filters do
        modified = any(getattr(cfg, "modifiers", None) for cfg in cfgs)
        flat = all(len(dim) == 1 for dim in dims) and not time_major and not modified
        if not manager.group_obs_concatenate[group] or not flat:
            total = sum(math.prod(dim) for dim in dims)
            found.append({"name": group, "size": total})
            continue
        names = manager.active_terms[group]
        found += [_term(name, cfg, dim[0]) for name, cfg, dim in zip(names, cfgs, dims, strict=True)]
    return found


def _term(name: str, cfg: Any, total: int) -> dict[str, Any]:
    history = max(1, cfg.history_length or 0)
    term: dict[str, Any] = {"name": name, "size": total // history, "history": history}
    if cfg.scale is not None:
        scale = numbers(cfg.scale if isinstance(cfg.scale, Tensor) else torch.tensor(cfg.scale))
        # one number stands for all entries
        term["scale"] = scale[0] if isinstance(scale, list) and len(scale) == 1 != term["size"] else scale
    if cfg.clip is not None:
        term["clip"] = [float(end) for end in cfg.clip]
    function = getattr(cfg.func, "__name__", type(cfg.func).__name__)
    return term | {"function": function, "params": _plain(cfg.params or {})}


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """Return those parameters of a term that are texts or numbers, and which joints it is of."""
    plain: dict[str, Any] = {k: v for k, v in params.items() if isinstance(v, (str, int, float, bool))}
    joints = getattr(params.get("asset_cfg"), "joint_ids", None)
    if joints is not None and not isinstance(joints, slice):
        plain["asset_cfg"] = {"joint_ids": [int(joint) for joint in joints]}
    return plain


def command_ranges(manager: Any) -> dict[str, Any]:
    """Return the ranges from which commands are drawn, by the command's name; of those that have ranges."""
    found = {}
    for name in manager.active_terms:
        cfg = manager.get_term(name).cfg
        ranges = getattr(cfg, "limit_ranges", None) or getattr(cfg, "ranges", None)
        if dataclasses.is_dataclass(ranges) and not isinstance(ranges, type):
            ends = dataclasses.asdict(ranges)
            found[name] = {part: None if pair is None else [float(end) for end in pair] for part, pair in ends.items()}
    return found


def joint_action_kind(term: Any) -> str | None:
    """Return which of :data:`JOINT_ACTIONS` an action term is or is derived from, None of another."""
    return next((cls.__name__ for cls in type(term).__mro__ if cls.__name__ in JOINT_ACTIONS), None)


def affine_action(
    name: str,
    term: Any,
    joint_names: Sequence[str],
    joint_ids: Sequence[int],
    limits: tuple[Tensor, Tensor] | None,
) -> dict[str, Any]:
    """Return what an action term commands, ``offset + scale * action`` of its joints.

    Args:
        name: Its name.
        term: The term, with ``_offset``, ``_scale`` and ``_clip`` as both hosts' have.
        joint_names: Its joints.
        joint_ids: Their positions among the robot's.
        limits: The lowest and highest action ``[A]`` that its joints can follow, None where it has none.
    """
    like = torch.zeros(len(joint_names))

    def of_each(values: Any) -> list[float]:
        return numbers(values[0] if isinstance(values, Tensor) else torch.full_like(like, values))

    return {
        "name": name,
        "kind": joint_action_kind(term),
        "joint_names": list(joint_names),
        "joint_ids": [int(joint) for joint in joint_ids],
        "scale": of_each(term._scale),
        "offset": of_each(term._offset),
        "clip": None if term.cfg.clip is None else numbers(term._clip[0]),
        "limits": None if limits is None else [numbers(limits[0]), numbers(limits[1])],
    }
