# SPDX-License-Identifier: BSD-3-Clause
"""Bounds of Isaac Lab's action terms, in the raw units that a policy outputs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def term_bounds(term: Any) -> tuple[Tensor, Tensor] | None:
    """Return lower and upper raw actions ``[A_term]`` of an action term, None where it has no natural limits.

    A joint-position term commands ``offset + scale * action``; its bounds are the actions that command the ends of the
    joints' ranges (a turn in each direction for joints without ends), and the term's own clip where that is nearer.

    Args:
        term: A term of an Isaac Lab action manager.
    """
    if type(term).__name__ != "JointPositionAction":
        return None
    limits = _torch(term._asset.data.joint_pos_limits)[0][term._joint_ids]
    default = _first_row(term._offset, limits)
    low, high = (torch.where(end.abs() < 1.0e3, end, default + turn) for end, turn in zip(
        limits.unbind(-1), (-math.pi, math.pi), strict=True
    ))  # fmt: skip
    if term.cfg.clip is not None:
        low, high = torch.maximum(low, term._clip[0, :, 0]), torch.minimum(high, term._clip[0, :, 1])
    scale = _first_row(term._scale, limits)
    ends = torch.stack(((low - default) / scale, (high - default) / scale))
    # a negative scale turns the axis round
    return ends.amin(0), ends.amax(0)


def _torch(values: Any) -> Tensor:
    """Return simulator data as a tensor; Isaac Lab 3.0 wraps it, 2.3 does not."""
    return values if isinstance(values, Tensor) else values.torch


def _first_row(values: Tensor | float, like: Tensor) -> Tensor:
    """Return one value per joint ``[A_term]`` of a scale or offset, which Isaac Lab keeps per environment."""
    return values[0] if isinstance(values, Tensor) else like.new_full((like.shape[0],), values)
