# SPDX-License-Identifier: BSD-3-Clause
"""Noise schedule of the denoising chain. Steps count from noise ``x_0`` to action ``x_N``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MIN_WEIGHT = 0.001
"""Floor ``m`` of the schedule, which keeps the noise of the last step above zero."""

OFFSET = 0.008
"""Offset ``s`` of the cosine schedule (Nichol and Dhariwal, 2021)."""


def cosine_weights(num_steps: int) -> Tensor:
    """Return the relative step sizes ``w(k) = (1-m) cos^2(pi/2 * ((1+s) - t)/(1+s)) + m`` with ``t = (N-k)/N``.

    The weights ``[N]`` decrease in (0, 1] and are float64.

    Raises:
        ValueError: If ``num_steps`` is below 1.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}.")
    t = (num_steps - torch.arange(num_steps, dtype=torch.float64)) / num_steps
    angle = 0.5 * math.pi * ((1 + OFFSET) - t) / (1 + OFFSET)
    return (1 - MIN_WEIGHT) * torch.cos(angle).square() + MIN_WEIGHT


def step_sizes(weights: Tensor, friction: Tensor) -> Tensor:
    """Return the Euler step sizes ``e_k = w(k) / (N * friction)`` ``[N, A]``, for positive frictions ``[A]``.

    The noise of step ``k`` has standard deviation ``sqrt(2 e_k)``.
    """
    return weights[:, None] / (weights.shape[0] * friction)


def first_steps(num_steps: int, num_groups: int) -> list[int]:
    """Return the first step of each of ``num_groups`` (1 to ``N``) even groups of consecutive steps."""
    return [group * num_steps // num_groups for group in range(num_groups)]


def merged_sizes(sizes: Tensor, firsts: list[int]) -> Tensor:
    """Sum step sizes ``[N, ...]`` over groups that begin at ``firsts`` (:func:`first_steps`), ``[M, ...]``."""
    return torch.stack([group.sum(0) for group in sizes.tensor_split(firsts[1:])])
