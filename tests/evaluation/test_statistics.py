# SPDX-License-Identifier: BSD-3-Clause
"""Statistics over seeds and tasks against hand computation, closed forms and exact enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from trudi_rsl.evaluation.statistics import (
    bootstrap,
    improvement_estimate,
    iqm,
    iqm_estimate,
    probability_of_improvement,
    profile_of,
    seeds_needed,
    summarize,
    thresholds_of,
)


def scores(seeds: int, tasks: int, seed: int = 0) -> np.ndarray:
    # rounded, so that there are ties
    return np.random.default_rng(seed).normal(size=(seeds, tasks)).round(1)


def iqm_over_tasks(resampled: np.ndarray) -> np.ndarray:
    return iqm(resampled.reshape(len(resampled), -1))


def test_mean_standard_deviation_and_iqm_of_four_returns() -> None:
    summary = summarize([100.0, 0.0, 4.0, 8.0])
    assert (summary.mean, summary.iqm, summary.count) == (28.0, 6.0, 4)
    assert summary.std == pytest.approx(math.sqrt((72**2 + 28**2 + 24**2 + 20**2) / 3))
    assert math.isnan(summarize([5.0]).std)
    # the IQM drops the floor of a quarter at each end
    assert iqm([1.0, 2.0, 9.0]) == 4.0
    assert iqm([[0.0, 1.0, 2.0, 3.0, 1000.0], [5.0, 5.0, 8.0, -9.0, 5.0]]).tolist() == [2.0, 5.0]


def test_the_interval_of_two_seeds_is_the_quantiles_of_their_four_resamples() -> None:
    # resamples of (0, 1) have the IQM 0, 1/2, 1/2, 1 with equal probability
    two = np.array([[0.0], [1.0]])
    assert bootstrap(iqm_over_tasks, two).tolist() == [0.0, 1.0]
    assert bootstrap(iqm_over_tasks, two, confidence=0.4).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="confidence"):
        bootstrap(iqm_over_tasks, two, confidence=1.5)


def test_the_interval_is_that_of_all_resamples_within_the_noise_of_sampling_them() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 9.0, 10.0])
    estimate = iqm_estimate(values[:, None])
    (low, high), wide, narrow = estimate.interval or (0.0, 0.0), 0.97, 0.93
    resamples = np.array(list(itertools.product(values, repeat=len(values))))
    tails = np.quantile(iqm(resamples), [(1 - wide) / 2, (1 - narrow) / 2, (1 + narrow) / 2, (1 + wide) / 2])
    assert tails[0] <= low <= tails[1] < tails[2] <= high <= tails[3]
    assert estimate.value == 5.75


def test_seeds_are_resampled_within_each_task_and_two_samples_apart() -> None:
    constant_per_task = np.array([[1.0, 10.0]] * 3)
    assert bootstrap(iqm_over_tasks, constant_per_task).tolist() == [5.5, 5.5]
    paired = np.arange(6.0)[:, None]
    low, high = bootstrap(lambda x, y: (x - y).mean(axis=(1, 2)), paired, paired)
    assert low < -1.0 < 1.0 < high


def test_the_interval_is_reproducible_and_leaves_the_callers_random_numbers_alone() -> None:
    given = scores(10, 1)
    np.random.seed(3)
    first = bootstrap(iqm_over_tasks, given, resamples=50).tolist()
    drawn = np.random.random()
    np.random.seed(4)
    assert bootstrap(iqm_over_tasks, given, resamples=50).tolist() == first
    assert bootstrap(iqm_over_tasks, given, resamples=50, seed=1).tolist() != first
    np.random.seed(3)
    assert np.random.random() == drawn


def test_five_seeds_of_one_task_are_the_fewest_whose_interval_does_not_end_at_the_worst_seed() -> None:
    all_resamples = {seeds: np.array(list(itertools.product(range(seeds), repeat=seeds))) for seeds in (2, 3, 4, 5)}
    assert [float(np.mean(iqm(r) == 0.0)) > 0.025 for r in all_resamples.values()] == [True, True, True, False]
    assert seeds_needed() == 5
    # more tasks need fewer seeds, though never a single one, and more confidence needs more
    needed = [seeds_needed(tasks) for tasks in range(1, 40)]
    assert needed == sorted(needed, reverse=True)
    assert min(needed) == 2
    assert seeds_needed(1, 0.5) < seeds_needed(1, 0.95) < seeds_needed(1, 0.9999)


@pytest.mark.parametrize(("seeds", "tasks"), [(1, 1), (4, 1), (2, 4), (1, 20)])
def test_with_fewer_seeds_than_needed_the_value_stays_and_the_interval_is_left_out(seeds: int, tasks: int) -> None:
    given = scores(seeds, tasks)
    estimate = iqm_estimate(given)
    assert (estimate.value, estimate.interval) == (iqm(given.ravel()), None)
    assert f"{seeds} seed" in estimate.lack
    assert f"needs {seeds_needed(tasks)}" in estimate.lack
    assert improvement_estimate(given, scores(30, tasks, 1)).interval is None
    assert profile_of(given, np.linspace(-1.0, 1.0, 5)).interval is None


@pytest.mark.parametrize("tasks", [1, 3])
def test_the_probability_of_improvement_counts_pairs_with_ties_as_a_half(tasks: int) -> None:
    for seed in range(5):
        first, second = scores(5, tasks, seed), scores(7, tasks, seed + 100)
        pairs = [(x, y) for j in range(tasks) for x in first[:, j] for y in second[:, j]]
        won = [1.0 if x > y else 0.5 if x == y else 0.0 for x, y in pairs]
        assert probability_of_improvement(first, second) == pytest.approx(sum(won) / len(pairs))
    same = scores(5, tasks)
    assert probability_of_improvement(same + 10.0, same) == 1.0


def test_the_interval_of_an_improvement_of_normal_scores_has_the_width_of_the_mann_whitney_statistic() -> None:
    # for equal distributions the standard error of P(X > Y) is sqrt((m + n + 1) / (12 m n))
    size = 60
    estimate = improvement_estimate(scores(size, 1, 5), scores(size, 1, 6))
    assert estimate.interval is not None
    low, high = estimate.interval
    assert low < estimate.value < high
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt((2 * size + 1) / (12 * size**2)), rel=0.15)


def test_a_profile_is_the_share_above_with_the_interval_of_a_binomial() -> None:
    given = np.array([[1.0], [2.0], [3.0], [4.0]])
    assert profile_of(given, np.array([0.0, 1.0, 2.5, 4.0])).share.tolist() == [1.0, 0.75, 0.5, 0.0]
    assert thresholds_of([given])[[0, -1]].tolist() == [1.0, 4.0]
    many = np.arange(100.0)[:, None]
    profile = profile_of(many, np.array([-1.0, 49.5, 100.0]))
    assert profile.interval is not None
    assert profile.interval[:, [0, 2]].tolist() == [[1.0, 0.0], [1.0, 0.0]]
    half_width = 1.96 * math.sqrt(0.25 / 100)
    assert profile.interval[:, 1] == pytest.approx([0.5 - half_width, 0.5 + half_width], abs=0.015)


def test_the_resamples_are_those_behind_the_published_tables() -> None:
    """Computed with rliable 1.2 at the seed 0; the tables in docs/results.md rest on the same resamples."""
    x = np.array([[1.0, 0.3], [2.5, 0.1], [2.0, 0.9], [7.0, 0.4], [3.5, 0.7], [0.5, 0.2]])
    y = np.array([[2.0, 0.2], [1.5, 0.5], [0.5, 0.6], [3.0, 0.1]])
    assert iqm_estimate(x).interval == (0.5, 1.75)
    assert improvement_estimate(x, y).interval == pytest.approx((1 / 3, 41 / 48))
