# SPDX-License-Identifier: BSD-3-Clause
"""Losses of policy-gradient algorithms as pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return ``max(-A r, -A clip(r, 1 - eps, 1 + eps))``, PPO's loss (arXiv 1707.06347, Eq. 7).

    Args:
        ratio: Probability ratios ``r`` of the new to the old policy, any shape.
        advantages: ``A``, broadcastable to it.
        clip: ``eps``.
    """
    return torch.max(-advantages * ratio, -advantages * ratio.clamp(1.0 - clip, 1.0 + clip))


def penalised_surrogate(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return ``-(r A - |A| / (2 eps) (r - 1)^2)``, SPO's loss (arXiv 2401.16025), least at ``r = 1 + eps sign(A)``.

    Args:
        ratio: Probability ratios ``r`` of the new to the old policy, any shape.
        advantages: ``A``, broadcastable to it.
        clip: ``eps``, how far the ratio is meant to go.
    """
    return advantages.abs() / (2.0 * clip) * (ratio - 1.0).square() - ratio * advantages


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """Return RSL-RL's mean squared error of the critic, scalar.

    Args:
        values: ``V`` of the states ``[B, 1]``.
        old_values: ``V`` when they were visited ``[B, 1]``.
        returns: Targets ``[B, 1]``.
        clip: Largest change of a value that is rewarded; None for any.
    """
    errors = (values - returns).square()
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        errors = torch.max(errors, (near - returns).square())
    return errors.mean()
