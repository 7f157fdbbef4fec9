# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of returns, with rliable's interquartile mean and stratified bootstrap (Agarwal 2021)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

INSTALL_LINE = 'pip install "trudi_rsl[eval]"'

try:
    from rliable import metrics
except ImportError as error:
    raise ImportError(f"Statistics of returns need rliable: {INSTALL_LINE}") from error


@dataclass(frozen=True)
class Summary:
    """Statistics of M returns."""

    mean: float
    std: float
    """Standard deviation of the sample (divided by M - 1), NaN for a single return."""
    iqm: float
    """Interquartile mean: the mean without the lowest and the highest quarter, each ``floor(M / 4)`` returns."""
    count: int


@dataclass(frozen=True)
class Interval:
    """An interquartile mean over seeds and tasks with its confidence interval."""

    iqm: float
    low: float
    high: float


def summarize(returns: ArrayLike) -> Summary:
    """Return the statistics of the returns ``[M]``.

    Raises:
        ValueError: If there are none.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.size == 0:
        raise ValueError("There are no returns to summarise.")
    std = float(values.std(ddof=1)) if values.size > 1 else math.nan
    return Summary(float(values.mean()), std, float(metrics.aggregate_iqm(values)), values.size)


def interval(returns_by_seed: ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Return the IQM over seeds and tasks with its stratified bootstrap interval.

    Args:
        returns_by_seed: One score per seed ``[S]``, or per seed and task ``[S, J]``. Seeds are resampled within each
            task. Tasks of different scale must be normalised before.
        confidence: Share of the interval, in (0, 1).
        resamples: Bootstrap resamples, at least 1.
        seed: Makes the interval reproducible.

    Raises:
        ImportError: If rliable's bootstrap is not usable.
        ValueError: If the array is empty or of another shape, or ``confidence`` is out of range.
    """
    scores = np.asarray(returns_by_seed, dtype=np.float64)
    if scores.size == 0 or scores.ndim not in (1, 2):
        raise ValueError(f"Scores must be [seeds] or [seeds, tasks] and not empty, got shape {scores.shape}.")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"The confidence must be in (0, 1), got {confidence}.")
    with bootstrapping(seed) as library:
        point, bounds = library.get_interval_estimates(
            {"": scores.reshape(len(scores), -1)},
            lambda resampled: np.array([metrics.aggregate_iqm(resampled)]),
            reps=resamples,
            confidence_interval_size=confidence,
        )
    low, high = bounds[""].ravel()
    return Interval(float(point[""][0]), float(low), float(high))


@contextlib.contextmanager
def bootstrapping(seed: int) -> Iterator[ModuleType]:
    """Yield rliable's ``library`` with reproducible resamples, and leave the caller's random numbers alone.

    Its stratified bootstrap draws from NumPy's global generator, whatever ``random_state`` it is given.

    Args:
        seed: Of the resamples.

    Raises:
        ImportError: If rliable's bootstrap is not usable.
    """
    try:
        from rliable import library
    except (ImportError, TypeError) as error:  # a TypeError is how its `arch` meets pandas 3
        raise ImportError(f"rliable's bootstrap cannot be imported ({error}): {INSTALL_LINE}") from error
    caller_state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield library
    finally:
        np.random.set_state(caller_state)


def seeds_needed(num_tasks: int = 1, confidence: float = 0.95) -> int:
    """Return how many seeds per task the bootstrap interval of an IQM needs to be more than the range of the scores.

    A resample of S seeds on J tasks has the lowest IQM possible if at most ``floor(S J / 4)`` of its S J draws, those
    that the IQM trims, are not their task's worst seed. If that is likelier than the interval's tail, the interval
    ends at the worst scores whatever the confidence: it is then the range of the scores, no 95 % interval. 5 seeds for
    one task, 3 for two to eight.

    Args:
        num_tasks: J, at least 1.
        confidence: Share of the interval, in (0, 1).
    """
    seeds = 2
    while _lowest_share(seeds, num_tasks) >= 0.5 * (1.0 - confidence):
        seeds += 1
    return seeds


def _lowest_share(seeds: int, tasks: int) -> float:
    """Return P(X <= floor(SJ/4)) for X ~ Binomial(SJ, 1 - 1/S)."""
    draws, other = seeds * tasks, 1.0 - 1.0 / seeds
    return sum(math.comb(draws, x) * other**x * (1.0 - other) ** (draws - x) for x in range(draws // 4 + 1))
