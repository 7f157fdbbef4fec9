# SPDX-License-Identifier: BSD-3-Clause
"""Bounds of mjlab's action terms, in the raw units that a policy outputs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from trudi_rsl.hosts.affine_action import first_row, raw_ends

JOINT_TRANSMISSION = 0
"""MuJoCo's ``mjTRN_JOINT``: the actuator acts on a joint."""


def term_bounds(term: Any) -> tuple[Tensor, Tensor] | None:
    """Return lower and upper raw actions ``[A_term]`` of an action term, None where it has no natural limits.

    Joint positions and efforts command ``offset + scale * action``. Their bounds are the actions that command the ends
    of the joints' ranges (a turn in each direction for joints without ends), or the actuators' largest efforts; the
    term's own clip counts where it is nearer.

    Args:
        term: A term of an mjlab action manager.
    """
    kind = type(term).__name__
    if kind == "JointPositionAction":
        ends = _joint_range(term)
    elif kind == "JointEffortAction":
        ends = _effort_range(term)
    else:
        return None
    if ends is None:
        return None
    clip = None if term.cfg.clip is None else term._clip
    return raw_ends(*ends, term.offset, term.scale, clip)


def _joint_range(term: Any) -> tuple[Tensor, Tensor]:
    limits = term._entity.data.joint_pos_limits[0][term.target_ids]
    turn = first_row(term.offset, limits)[:, None] + limits.new_tensor([-math.pi, math.pi])
    low, high = torch.where(limits.isfinite(), limits, turn).unbind(-1)
    return low, high


def _effort_range(term: Any) -> tuple[Tensor, Tensor] | None:
    """Return the efforts that the joints' actuators can take; None if one of them has no limit."""
    model = term._env.sim.mj_model
    ranges = []
    for joint in term._entity.indexing.joint_ids[term.target_ids].tolist():
        actuators = (model.actuator_trntype == JOINT_TRANSMISSION) & (model.actuator_trnid[:, 0] == joint)
        limits = [model.actuator_ctrlrange[i] for i in (actuators & (model.actuator_ctrllimited > 0)).nonzero()[0]]
        limits += [model.actuator_forcerange[i] for i in (actuators & (model.actuator_forcelimited > 0)).nonzero()[0]]
        if not limits:
            return None
        ranges.append(limits[0].tolist())
    low, high = term.raw_action.new_tensor(ranges).unbind(-1)
    return low, high
