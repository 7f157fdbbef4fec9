# SPDX-License-Identifier: BSD-3-Clause
"""Central finite differences against given gradients, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


@torch.no_grad()
def assert_gradients_match(
    loss: Callable[[], Tensor], parameters: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor]
) -> None:
    """Assert that each gradient, along a random direction, is the central difference of ``loss``.

    Args:
        loss: Deterministic function of the parameters' current values.
        parameters: Parameters by name.
        gradients: The gradients to check, by the same names.
    """
    step = 1e-5
    largest = 0.0
    for name, parameter in parameters.items():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
        start = parameter.clone()
        parameter.copy_(start + step * direction)
        above = loss()
        parameter.copy_(start - step * direction)
        below = loss()
        parameter.copy_(start)
        expected = (above - below) / (2.0 * step)
        actual = (gradients[name] * direction).sum()
        largest = max(largest, actual.abs().item())
        assert (actual - expected).abs() < 1e-6 * (1.0 + expected.abs()), f"{name}: {actual}, expected {expected}"
    assert largest > 1e-3, "all gradients vanish, so nothing was compared"
