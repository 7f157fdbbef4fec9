# SPDX-License-Identifier: BSD-3-Clause
"""A loss together with its gradient, as one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class HasLoss(Protocol):
    """What an objective returns: a scalar loss among other things."""

    @property
    def loss(self) -> Tensor:
        """Scalar, to be differentiated."""
        ...


class Gradient(NamedTuple):
    """Calls an objective and differentiates its loss.

    Only ``objective`` is compiled, and with it its backward pass. The call as a whole is what proves that both work.
    """

    objective: Callable[..., Any]
    """Returns something with a ``loss``."""
    parameters: Sequence[nn.Parameter]
    """What to differentiate for; everything else is held constant."""

    def __call__(self, *args: Any) -> tuple[Any, tuple[Tensor, ...]]:
        """Return the objective's result and the gradient of its loss, zero where a parameter takes no part."""
        result: HasLoss = self.objective(*args)
        return result, torch.autograd.grad(result.loss, list(self.parameters), materialize_grads=True)
