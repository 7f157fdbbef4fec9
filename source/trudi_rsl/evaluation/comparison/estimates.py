# SPDX-License-Identifier: BSD-3-Clause
"""Estimates over seeds and tasks, with rliable's stratified bootstrap (Agarwal 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trudi_rsl.evaluation.statistics import bootstrapping, interval, seeds_needed

Scores = NDArray[np.float64]
"""Scores ``[S, J]`` of S seeds on J tasks."""

RESAMPLES = 2000
NUM_THRESHOLDS = 101


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    interval: tuple[float, float] | None
    """Lower and upper end; None where there are fewer seeds than the bootstrap needs."""
    seeds: int
    """Seeds per task that it is made of; the smaller number where it is of two groups."""
    needed: int
    """Seeds per task that an interval needs."""

    @property
    def lack(self) -> str:
        """Why there is no interval, empty where there is one."""
        if self.interval is not None:
            return ""
        return f"no interval: {self.seeds} seed{'s' if self.seeds > 1 else ''}, needs {self.needed}"


@dataclass(frozen=True)
class Profile:
    """The share of runs whose score is above each threshold."""

    share: NDArray[np.float64]
    """``[T]``, in [0, 1]."""
    interval: NDArray[np.float64] | None
    """Lower and upper ends ``[2, T]``; None where there are fewer seeds than the bootstrap needs."""


def score_matrix(by_task: Mapping[str, Sequence[float]]) -> Scores:
    """Return the scores of a group ``[S, J]``.

    Args:
        by_task: J tasks, each with the scores of its seeds, of which the first S count that every task has. The
            stratified bootstrap draws within each task, so they need not be the same seeds.
    """
    seeds = min(len(scores) for scores in by_task.values())
    return np.array([scores[:seeds] for scores in by_task.values()], dtype=np.float64).T


def iqm_estimate(scores: Scores, confidence: float = 0.95) -> Estimate:
    """Return the interquartile mean over seeds and tasks.

    Args:
        scores: ``[S, J]``.
        confidence: Share of the interval, in (0, 1).
    """
    found, needed = interval(scores, confidence, RESAMPLES), seeds_needed(scores.shape[1], confidence)
    bounds = (found.low, found.high) if len(scores) >= needed else None
    return Estimate(found.iqm, bounds, len(scores), needed)


def probability_of_improvement(first: Scores, second: Scores) -> float:
    """Return P(X > Y) + P(X = Y) / 2 for a run X of the first and Y of the second on one task, averaged over tasks.

    rliable's metric of this name without its p-value, which takes most of a bootstrap's time.

    Args:
        first: ``[S, J]``.
        second: ``[S', J]``.
    """
    above = first[:, None] > second[None]
    tied = first[:, None] == second[None]
    return float((above + 0.5 * tied).mean())


def improvement_estimate(first: Scores, second: Scores, confidence: float = 0.95) -> Estimate:
    """Return :func:`probability_of_improvement` with its stratified bootstrap interval.

    Args:
        first: ``[S, J]``.
        second: ``[S', J]``, the same tasks.
        confidence: Share of the interval, in (0, 1).
    """
    seeds, needed = min(len(first), len(second)), seeds_needed(first.shape[1], confidence)
    value, bounds = probability_of_improvement(first, second), None
    if seeds >= needed:
        with bootstrapping(seed=0) as library:
            _, found = library.get_interval_estimates(
                {"": [first, second]},
                lambda x, y: np.array([probability_of_improvement(x, y)]),
                reps=RESAMPLES,
                confidence_interval_size=confidence,
            )
        low, high = found[""].ravel()
        bounds = (float(low), float(high))
    return Estimate(value, bounds, seeds, needed)


def thresholds_of(scores: Sequence[Scores]) -> NDArray[np.float64]:
    """Return thresholds ``[T]`` over the range of all scores, evenly spaced."""
    everything = np.concatenate([matrix.ravel() for matrix in scores])
    return np.linspace(everything.min(), everything.max(), NUM_THRESHOLDS)


def profile_of(scores: Scores, thresholds: NDArray[np.float64], confidence: float = 0.95) -> Profile:
    """Return the performance profile: at each threshold the share of runs above it, over all tasks.

    Args:
        scores: ``[S, J]``.
        thresholds: ``[T]``.
        confidence: Share of the pointwise interval, in (0, 1).
    """

    def share_above(resampled: Scores, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        return (resampled[..., None] > levels).mean(axis=(0, 1))

    if len(scores) < seeds_needed(scores.shape[1], confidence):
        return Profile(share_above(scores, thresholds), None)
    with bootstrapping(seed=0) as library:
        share, bounds = library.create_performance_profile(
            {"": scores},
            thresholds,
            custom_profile_func=share_above,
            reps=RESAMPLES,
            confidence_interval_size=confidence,
        )
    return Profile(share[""], bounds[""])
