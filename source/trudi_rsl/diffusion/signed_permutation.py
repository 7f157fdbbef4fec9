# SPDX-License-Identifier: BSD-3-Clause
"""Mirrors of actions: signed permutations, which the squash and the kernels of the chain commute with.

``tanh`` is odd and acts on each dimension alone, so mirroring latents mirrors unit actions. The kernels of the chain
are Gaussian with independent dimensions, so a mirrored step has the density of the step, if its standard deviations are
permuted as well. No other linear map has both properties.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class SignedPermutations(NamedTuple):
    """``G`` maps ``y_i = sign_i x_source(i)`` of ``A`` dimensions, the first of which is the identity."""

    sources: Tensor
    """Dimension that each dimension comes from, long ``[G, A]``."""
    signs: Tensor
    """1 or -1, ``[G, A]``."""

    @property
    def num_maps(self) -> int:
        """Number ``G`` of maps, the identity included."""
        return self.sources.shape[0]

    def mirror(self, x: Tensor) -> Tensor:
        """Return the images ``[..., G*B, A]`` of ``x`` ``[..., B, A]``; row ``g * B + b`` is image ``g`` of row b."""
        return (x[..., self.sources] * self.signs.to(x.dtype)).transpose(-3, -2).flatten(-3, -2)

    def permute(self, x: Tensor) -> Tensor:
        """Return what :meth:`mirror` does, without signs: the images of positive quantities such as deviations."""
        return x[..., self.sources].transpose(-3, -2).flatten(-3, -2)

    def inverses(self) -> list[int | None]:
        """Return the index of each map's inverse among the maps, None where it is not one of them."""
        identity = torch.arange(self.sources.shape[1], device=self.sources.device)
        found: list[int | None] = []
        for sources, signs in zip(self.sources, self.signs, strict=True):
            # z_i = sign'_i y_source'(i) with y_j = sign_j x_source(j)
            returns = (sources[self.sources] == identity).all(-1) & (signs[self.sources] * self.signs == 1.0).all(-1)
            found.append(int(returns.nonzero()[0]) if returns.any() else None)
        return found
