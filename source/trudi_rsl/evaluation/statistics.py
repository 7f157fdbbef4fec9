# SPDX-License-Identifier: BSD-3-Clause
"""Interquartile means, probabilities of improvement and performance profiles, with stratified bootstrap intervals.

The statistics of Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice". The
bootstrap draws the same resamples as the authors' library rliable does after ``np.random.seed(seed)``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float64]
"""Scores ``[S, J]`` of S seeds on J tasks."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Statistics of M returns."""

    mean: float
    std: float
    """Sample standard deviation (divided by M - 1), NaN for a single return."""
    iqm: float
    count: int


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval."""

    value: float
    interval: tuple[float, float] | None
    """Lower and upper end; None with too few seeds."""
    seeds: int
    """Seeds per task; the smaller number if two groups are compared."""
    needed: int
    """Seeds per task that an interval needs (:func:`seeds_needed`)."""

    @property
    def lack(self) -> str:
        """Why there is no interval; empty if there is one."""
        missing = f"no interval: {self.seeds} seed{'s' if self.seeds > 1 else ''}, needs {self.needed}"
        return missing if self.interval is None else ""


@dataclass(frozen=True)
class Profile:
    """The share of runs whose score is above each threshold."""

    share: NDArray[np.float64]
    """``[T]``, in [0, 1]."""
    interval: NDArray[np.float64] | None
    """Pointwise lower and upper ends ``[2, T]``; None with too few seeds."""


def iqm(values: ArrayLike) -> NDArray[np.float64]:
    """Return the mean without the lowest and highest ``floor(M / 4)`` values: ``[..., M]`` to ``[...]``."""
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


def summarize(returns: ArrayLike) -> Summary:
    """Return the statistics of the returns ``[M]``, at least one."""
    values = np.asarray(returns, dtype=np.float64)
    std = float(values.std(ddof=1)) if values.size > 1 else math.nan
    return Summary(float(values.mean()), std, float(iqm(values)), values.size)


def bootstrap(
    statistic: Callable[..., NDArray[np.float64]],
    *samples: Scores,
    confidence: float = CONFIDENCE,
    resamples: int = 2000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return the percentile interval ``[2, ...]`` of a statistic under resampling of seeds within each task.

    The statistic maps B resamples ``[B, S, J]`` of each sample to ``[B, ...]``. Samples are resampled independently of
    each other; S may differ. Raises ValueError if the confidence is not in (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"The confidence must be in (0, 1), got {confidence}.")
    random = np.random.RandomState(seed)  # rliable draws from this older generator
    draws = [
        [np.take_along_axis(scores, random.randint(0, len(scores), scores.shape), axis=0) for scores in samples]
        for _ in range(resamples)
    ]
    values = statistic(*map(np.stack, zip(*draws, strict=True)))
    return np.percentile(values, [50.0 * (1.0 - confidence), 50.0 * (1.0 + confidence)], axis=0)


def seeds_needed(num_tasks: int = 1, confidence: float = CONFIDENCE) -> int:
    """Return how many seeds per task the interval of an IQM over J tasks needs: 5 for one, 3 for two to eight.

    A resample of S seeds has the lowest possible IQM if at most ``floor(S J / 4)`` of its S J draws, which the IQM
    trims, differ from their task's worst seed. If that is likelier than the interval's tail, the interval ends at the
    worst scores whatever the confidence, and is only the range of the scores.
    """

    def chance_of_lowest(seeds: int) -> float:  # P(X <= floor(SJ/4)) for X ~ Binomial(SJ, 1 - 1/S)
        draws, other = seeds * num_tasks, 1.0 - 1.0 / seeds
        return sum(math.comb(draws, x) * other**x * (1.0 - other) ** (draws - x) for x in range(draws // 4 + 1))

    return next(seeds for seeds in itertools.count(2) if chance_of_lowest(seeds) < 0.5 * (1.0 - confidence))


def score_matrix(by_task: Mapping[str, Sequence[float]]) -> Scores:
    """Return the scores ``[S, J]`` of J tasks, each with its first S seeds, the number that every task has.

    Seeds are resampled within each task, so those of different tasks need not be the same.
    """
    seeds = min(len(scores) for scores in by_task.values())
    return np.array([scores[:seeds] for scores in by_task.values()], dtype=np.float64).T


def iqm_estimate(scores: Scores, confidence: float = CONFIDENCE) -> Estimate:
    """Return the IQM over seeds and tasks ``[S, J]``; scores of different tasks must be on one scale."""
    return _estimate(lambda s: iqm(s.reshape(*s.shape[:-2], -1)), scores, confidence=confidence)


def probability_of_improvement(first: Scores, second: Scores) -> NDArray[np.float64]:
    """Return P(X > Y) + P(X = Y) / 2 for runs X and Y on one task, averaged over tasks: in [0, 1], ``[...]``.

    Scores of X are ``[..., S, J]``, those of Y on the same tasks ``[..., S', J]``.
    """
    x, y, pairs = first[..., :, None, :], second[..., None, :, :], (-3, -2, -1)
    return (x > y).mean(pairs) + 0.5 * (x == y).mean(pairs)


def improvement_estimate(first: Scores, second: Scores, confidence: float = CONFIDENCE) -> Estimate:
    """Return :func:`probability_of_improvement` of ``[S, J]`` over ``[S', J]``."""
    return _estimate(probability_of_improvement, first, second, confidence=confidence)


def _estimate(statistic: Callable[..., NDArray[np.float64]], *samples: Scores, confidence: float) -> Estimate:
    seeds, needed, interval = min(map(len, samples)), seeds_needed(samples[0].shape[1], confidence), None
    if seeds >= needed:
        low, high = bootstrap(statistic, *samples, confidence=confidence).tolist()
        interval = low, high
    return Estimate(float(statistic(*samples)), interval, seeds, needed)


def thresholds_of(scores: Sequence[Scores]) -> NDArray[np.float64]:
    """Return 101 thresholds, evenly spaced over the range of all scores."""
    everything = np.concatenate([matrix.ravel() for matrix in scores])
    return np.linspace(everything.min(), everything.max(), 101)


def profile_of(scores: Scores, thresholds: NDArray[np.float64], confidence: float = CONFIDENCE) -> Profile:
    """Return the performance profile of ``[S, J]``: the share of all runs above each threshold ``[T]``."""

    def share_above(resampled: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([(resampled > threshold).mean(axis=(-2, -1)) for threshold in thresholds], axis=-1)

    enough = len(scores) >= seeds_needed(scores.shape[1], confidence)
    return Profile(share_above(scores), bootstrap(share_above, scores, confidence=confidence) if enough else None)
