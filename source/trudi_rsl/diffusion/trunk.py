# SPDX-License-Identifier: BSD-3-Clause
"""The hidden layers of a policy's network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class HiddenBlock(nn.Module):
    """``activation(LayerNorm(Linear(h)))``, added to its input when ``residual``."""

    def __init__(self, in_dim: int, out_dim: int, residual: bool, activation: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        self.norm = nn.LayerNorm(out_dim)
        self.activation = activation()
        self.residual = residual

    def forward(self, h: Tensor) -> Tensor:
        """Map features ``[..., in_dim]`` to ``[..., out_dim]``."""
        out = self.activation(self.norm(self.linear(h)))
        return h + out if self.residual else out


def check_widths(hidden_dims: Sequence[int], residual: bool) -> None:
    """Refuse widths that no network can have.

    Args:
        hidden_dims: Width of the first layer and of every hidden block.
        residual: Whether each hidden block has a skip connection.

    Raises:
        ValueError: If ``hidden_dims`` is empty, or has unequal widths with ``residual``.
    """
    if not hidden_dims:
        raise ValueError("hidden_dims must name at least one layer.")
    if residual and len(set(hidden_dims)) > 1:
        raise ValueError(f"Residual blocks need equal widths, got hidden_dims={list(hidden_dims)}.")


def hidden_trunk(hidden_dims: Sequence[int], residual: bool, activation: type[nn.Module] = nn.GELU) -> nn.Sequential:
    """Return what lies between a network's first and last layer: the activation, then a block per further width.

    Args:
        hidden_dims: Widths that :func:`check_widths` lets pass.
        residual: Add a skip connection around each hidden block.
        activation: Class of the activations.
    """
    blocks = (HiddenBlock(i, o, residual, activation) for i, o in pairwise(hidden_dims))
    return nn.Sequential(activation(), *blocks)
