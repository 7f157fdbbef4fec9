# SPDX-License-Identifier: BSD-3-Clause
"""The squashing ``a = scale * tanh(x) + offset`` and its log-determinant."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def log_det_squash(x: Tensor, scale: Tensor | None = None) -> Tensor:
    """Return ``log|da/dx|`` of ``a = scale * tanh(x) + offset``, summed over dimensions.

    ``log(1 - tanh(x)^2) = 2 (ln 2 - x - softplus(-2x))`` stays finite where ``tanh`` saturates.

    Args:
        x: Pre-squash actions ``[..., A]``.
        scale: Positive scale per dimension ``[A]``; None for the unit action ``tanh(x)``.

    Returns:
        Log-determinant ``[...]`` in nats.
    """
    log_det = (2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))).sum(-1)
    return log_det if scale is None else log_det + torch.log(scale).sum()
