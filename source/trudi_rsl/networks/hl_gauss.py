# SPDX-License-Identifier: BSD-3-Clause
"""HL-Gauss: scalars as histograms of a Gaussian around them (Farebrother et al., 2024)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SIGMA_IN_BINS = 0.75
"""Standard deviation of the Gaussian, in bin widths."""


class HLGauss(nn.Module):
    """Encoder and decoder between values and categorical distributions over ``num_bins`` bin centres.

    The centres run evenly from ``vmin`` to ``vmax``, stored in buffers, so that the range is saved with checkpoints and
    can be widened during training. A ValueError is raised for an empty range or fewer than 2 bins.
    """

    vmin: Tensor
    vmax: Tensor
    grid: Tensor

    def __init__(self, vmin: float, vmax: float, num_bins: int) -> None:
        super().__init__()
        if not vmin < vmax:
            raise ValueError(f"vmin must be below vmax, got [{vmin}, {vmax}].")
        if num_bins < 2:
            raise ValueError(f"num_bins must be at least 2, got {num_bins}.")
        self.num_bins = num_bins
        self.register_buffer("vmin", torch.tensor(float(vmin)))
        self.register_buffer("vmax", torch.tensor(float(vmax)))
        self.register_buffer("grid", torch.linspace(0.0, 1.0, num_bins), persistent=False)

    def set_range(self, vmin: Tensor | float, vmax: Tensor | float) -> None:
        """Set the range in place; logits keep their meaning relative to it."""
        self.vmin.copy_(torch.as_tensor(vmin))
        self.vmax.copy_(torch.as_tensor(vmax))

    def centers(self) -> Tensor:
        """Return the bin centres, ``[num_bins]``."""
        return self.vmin + (self.vmax - self.vmin) * self.grid

    def encode(self, values: Tensor) -> Tensor:
        """Return the target probabilities of ``values`` clipped to the range, ``[...] -> [..., num_bins]``."""
        width = (self.vmax - self.vmin) / (self.num_bins - 1)
        centers = self.centers()
        edges = torch.cat([centers[:1] - 0.5 * width, centers + 0.5 * width])
        y = torch.clamp(values, self.vmin, self.vmax)[..., None]
        cdf = torch.erf((edges - y) / (SIGMA_IN_BINS * width * math.sqrt(2.0)))
        mass = cdf.diff(dim=-1)
        return mass / mass.sum(-1, keepdim=True)

    def decode(self, probabilities: Tensor) -> Tensor:
        """Return the expectation ``probabilities . centres``, ``[..., num_bins] -> [...]``."""
        # a sum, because a matrix product may run in reduced precision
        return (probabilities * self.centers()).sum(-1)

    def clipped(self, values: Tensor) -> Tensor:
        """Return a mask of the values outside the range, bool ``[...]``."""
        return (values < self.vmin) | (values > self.vmax)
