# SPDX-License-Identifier: BSD-3-Clause
"""Action terms that command ``offset + scale * action``, as Isaac Lab and mjlab have them."""

from __future__ import annotations

import torch
from torch import Tensor


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
