# SPDX-License-Identifier: BSD-3-Clause
"""What is logged of a rollout before learning from it, and of several processes as one."""

from __future__ import annotations

import torch
from torch import Tensor

from trudi_rsl.algorithms.objectives import masked_mean
from trudi_rsl.distributed import all_gather
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
        The share of usable targets outside the range, the share of saturated action components, how far off the
        normaliser is (:func:`observation_shift`), and the range.
    """
    return {
        "clipped_targets": masked_mean(hl_gauss.clipped(storage.targets).float(), storage.target_valid),
        "action_saturation": (storage.actions[: storage.num_steps].abs() > SATURATED).float().mean(),
        "observation_shift": observation_shift(storage),
        "value_range_low": hl_gauss.vmin,
        "value_range_high": hl_gauss.vmax,
    }


def observation_shift(storage: RolloutBuffer) -> Tensor:
    """Return how far the rollout lies from what its normaliser takes for the centre, in standard deviations, scalar.

    The largest over all entries of an observation of ``|mean over the rollout|``: 0 where the running statistics are
    those of the rollout.
    """
    obs = {id(o): o for o in (storage.actor_obs, storage.critic_obs)}.values()
    return torch.stack([o[: storage.num_steps].mean((0, 1)).abs().max() for o in obs]).max()


def of_all(metrics: dict[str, Tensor]) -> dict[str, float]:
    """Return scalars as numbers, read from the device once: the means over all processes, the largest of ``*_max``."""
    everyones = all_gather(torch.stack([value.float() for value in metrics.values()]))
    means, largest = torch.stack([everyones.mean(0), everyones.amax(0)]).tolist()
    return {
        name: maximum if name.endswith("_max") else mean
        for name, mean, maximum in zip(metrics, means, largest, strict=True)
    }
