# SPDX-License-Identifier: BSD-3-Clause
"""Matrix products of one pass through a network, differentiated in another without being computed again.

Where a network has been evaluated at two inputs per row and only one of them is to be differentiated, the products at
the chosen inputs are known before the pass that records gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Multiply = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Returns the product of features ``[..., I]`` with a weight ``[O, I]``, plus a bias ``[O]`` or None: ``[..., O]``."""


class RecordedProducts:
    """Multiplies, and keeps the results in their order."""

    def __init__(self) -> None:
        self.results: list[Tensor] = []
        """One result ``[..., O]`` per product."""

    def __call__(self, h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the product; see :data:`Multiply`."""
        self.results.append(F.linear(h, weight, bias))
        return self.results[-1]


class KnownProducts:
    """Returns results in their order as products that can be differentiated.

    Args:
        results: What the products would be, without gradient.
    """

    def __init__(self, results: Sequence[Tensor]) -> None:
        self._results, self._num_used = results, 0

    def __call__(self, h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the next result; see :data:`Multiply`."""
        self._num_used += 1
        return _KnownProduct.apply(self._results[self._num_used - 1], h, weight, bias)


class _KnownProduct(torch.autograd.Function):
    """A product with the gradient of ``F.linear`` in features, weight and bias."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(h, weight)
        ctx.has_bias = bias is not None
        return result.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        h, weight = ctx.saved_tensors
        # under autocast, products of gradients are rounded as the products were
        by_h = (gradient @ weight.to(gradient.dtype)).to(h.dtype)
        rows = gradient.flatten(0, -2)
        by_weight = (rows.T @ h.flatten(0, -2).to(gradient.dtype)).to(weight.dtype)
        return None, by_h, by_weight, rows.sum(0).to(weight.dtype) if ctx.has_bias else None
