# SPDX-License-Identifier: BSD-3-Clause
"""Bounds of Isaac Lab's action terms, in the raw units that a policy outputs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from trudi_rsl.hosts.affine_action import first_row, raw_ends

NO_LIMIT = 1.0e3
"""Radians or metres from which on a joint counts as having no end."""


def term_bounds(term: Any) -> tuple[Tensor, Tensor] | None:
    """Return lower and upper raw actions ``[A_term]`` of an action term, None where it has no natural limits.

    A joint-position term commands ``offset + scale * action``; its bounds are the actions that command the ends of the
    joints' ranges (a turn in each direction for joints without ends), and the term's own clip where that is nearer.

    Args:
        term: A term of an Isaac Lab action manager.
    """
    if not any(cls.__name__ == "JointPositionAction" for cls in type(term).__mro__):
        return None
    limits = as_tensor(term._asset.data.joint_pos_limits)[0][term._joint_ids]
    turn = first_row(term._offset, limits)[:, None] + limits.new_tensor([-math.pi, math.pi])
    low, high = torch.where(limits.abs() < NO_LIMIT, limits, turn).unbind(-1)
    return raw_ends(low, high, term._offset, term._scale, None if term.cfg.clip is None else term._clip)


def as_tensor(values: Any) -> Tensor:
    """Return simulator data as a tensor; Isaac Lab 3.0 wraps it, 2.3 does not."""
    return values if isinstance(values, Tensor) else values.torch
