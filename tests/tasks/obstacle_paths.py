# SPDX-License-Identifier: BSD-3-Clause
"""Scripted runs of the obstacle task."""

from __future__ import annotations

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

AROUND = np.array([(0.3, 1.0), (0.5, 1.0), (1.0, 0.5), (1.0, 0.2), (1.0, 0.0), (1.0, -0.2), (1.0, -0.8), (0.5, -1.0)])
"""Actions that lead from the fixed start to the goal on the left of the disc, ``[steps, 2]``."""
MIRROR = np.array([1.0, -1.0])
STRAIGHT = np.tile([1.0, 0.0], (len(AROUND), 1))


class Scripted:
    """Drives environment i from the fixed start, by ``sides[i]``: 1 left, -1 right, 0 into the disc."""

    def __init__(self, sides: list[int]) -> None:
        actions = {1: AROUND, -1: AROUND * MIRROR, 0: STRAIGHT}
        self.actions = torch.tensor(np.stack([actions[side] for side in sides], axis=1), dtype=torch.float32)
        self.step = 0

    def reset(self, dones: Tensor) -> None:
        self.step = 0 if bool(dones.all()) else self.step

    def __call__(self, obs: TensorDict) -> Tensor:
        actions = self.actions[self.step % len(self.actions)]
        self.step += 1
        return actions
