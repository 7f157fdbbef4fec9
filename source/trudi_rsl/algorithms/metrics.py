# SPDX-License-Identifier: BSD-3-Clause
"""Logged metrics: those of a rollout, and the reduction over minibatches and ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from trudi_rsl.algorithms.objectives import masked_mean
from trudi_rsl.distributed import all_gather
from trudi_rsl.networks import HLGauss
from trudi_rsl.storage import RolloutBuffer

SATURATED = 0.99
"""Absolute unit action from which a component counts as saturated."""

MAX_METRICS = frozenset({"path_kl_max", "skipped_updates"})
"""Metrics that are reduced by their maximum; all others by their mean."""


def rollout_metrics(storage: RolloutBuffer, hl_gauss: HLGauss) -> dict[str, Tensor]:
    """Return scalars on the device, of a rollout whose targets are computed.

    They are the share of usable targets outside the value range, the share of saturated action components, the
    normaliser's error (:func:`observation_shift`), and the range.
    """
    return {
        "clipped_targets": masked_mean(hl_gauss.clipped(storage.targets).float(), storage.target_valid),
        "action_saturation": (storage.actions[: storage.num_steps].abs() > SATURATED).float().mean(),
        "observation_shift": observation_shift(storage),
        "value_range_low": hl_gauss.vmin,
        "value_range_high": hl_gauss.vmax,
    }


def observation_shift(storage: RolloutBuffer) -> Tensor:
    """Return the largest distance of an entry's mean over the rollout from its running mean, in standard deviations.

    It is that of vectors, 0 where all observations are images.
    """
    shifts = [obs.mean((0, 1)).abs().max() for obs in storage.observations if obs.shape[-1]]
    return torch.stack(shifts).max() if shifts else storage.rewards.new_zeros(())


def reduce_minibatches(minibatches: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return each scalar's mean or maximum over the minibatches (:data:`MAX_METRICS`)."""
    stacked = {name: torch.stack([metrics[name] for metrics in minibatches]) for name in minibatches[0]}
    return {name: values.max() if name in MAX_METRICS else values.mean() for name, values in stacked.items()}


def read_metrics(metrics: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, float], dict[str, float]]:
    """Return scalars as numbers, by the one GPU sync of an iteration.

    ``metrics`` are reduced to their mean or maximum over all ranks (:data:`MAX_METRICS`), ``own`` are this rank's.
    """
    ranks = all_gather(torch.stack([value.float() for value in metrics.values()]))
    own_values = torch.stack([value.float() for value in own.values()])
    numbers, size = torch.cat([ranks.mean(0), ranks.amax(0), own_values]).tolist(), len(metrics)
    means, maxima = numbers[:size], numbers[size : 2 * size]
    reduced = {name: (maxima if name in MAX_METRICS else means)[i] for i, name in enumerate(metrics)}
    return reduced, dict(zip(own, numbers[2 * size :], strict=True))


def mean_metrics(logged: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Return the mean of each metric over the minibatches."""
    return torch.stack([torch.stack(list(values.values())) for values in logged]).mean(0)
