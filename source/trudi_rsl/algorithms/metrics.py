# SPDX-License-Identifier: BSD-3-Clause
"""What is logged of a rollout before learning from it."""

from __future__ import annotations

from torch import Tensor

from trudi_rsl.algorithms.losses import masked_mean
from trudi_rsl.networks import HLGauss
from trudi_rsl.storage import RolloutBuffer

SATURATED = 0.99
"""Absolute unit action from which a component counts as saturated."""


def rollout_metrics(storage: RolloutBuffer, hl_gauss: HLGauss) -> dict[str, Tensor]:
    """Return scalars on the device.

    Args:
        storage: A rollout whose targets are computed.
        hl_gauss: The critic's value range.

    Returns:
        The share of usable targets outside the range, the share of saturated action components, and the range.
    """
    return {
        "clipped_targets": masked_mean(hl_gauss.clipped(storage.targets).float(), storage.target_valid),
        "action_saturation": (storage.actions[: storage.num_steps].abs() > SATURATED).float().mean(),
        "value_range_low": hl_gauss.vmin,
        "value_range_high": hl_gauss.vmax,
    }
