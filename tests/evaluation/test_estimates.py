# SPDX-License-Identifier: BSD-3-Clause
"""Statistics over seeds and tasks against closed forms, exact enumeration and rliable's own functions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from rliable import library, metrics

from trudi_rsl.evaluation.comparison.estimates import (
    improvement_estimate,
    iqm_estimate,
    probability_of_improvement,
    profile_of,
    score_matrix,
    thresholds_of,
)
from trudi_rsl.evaluation.statistics import interval, seeds_needed


def scores(seeds: int, tasks: int, seed: int = 0, decimals: int = 1) -> np.ndarray:
    # rounded, so that there are ties
    return np.random.default_rng(seed).normal(size=(seeds, tasks)).round(decimals)


def chance_of_the_lowest_iqm(seeds: int) -> float:
    """Return the share of all resamples of one task's seeds whose IQM is that of its worst seed."""
    values = np.arange(seeds, dtype=float)
    iqms = [metrics.aggregate_iqm(values[list(drawn)]) for drawn in itertools.product(range(seeds), repeat=seeds)]
    return float(np.mean(np.array(iqms) == values[0]))


def test_five_seeds_of_one_task_are_the_fewest_whose_interval_does_not_end_at_the_worst_seed() -> None:
    assert [chance_of_the_lowest_iqm(seeds) > 0.025 for seeds in (2, 3, 4, 5)] == [True, True, True, False]
    assert seeds_needed() == 5
    for seeds in (2, 3, 4):
        assert interval(np.arange(seeds, dtype=float)).low == 0.0
    assert interval(np.arange(5.0)).low > 0.0


def test_more_tasks_need_fewer_seeds_and_more_confidence_needs_more_but_one_seed_never_does() -> None:
    needed = [seeds_needed(tasks) for tasks in range(1, 40)]
    assert needed == sorted(needed, reverse=True)
    assert min(needed) == 2
    assert seeds_needed(1, 0.5) < seeds_needed(1, 0.95) < seeds_needed(1, 0.9999)


@pytest.mark.parametrize(("seeds", "tasks"), [(1, 1), (4, 1), (2, 4), (1, 20)])
def test_with_fewer_seeds_than_needed_the_point_stays_and_the_interval_is_left_out(seeds: int, tasks: int) -> None:
    given = scores(seeds, tasks)
    estimate = iqm_estimate(given)
    assert estimate.interval is None
    assert estimate.value == pytest.approx(metrics.aggregate_iqm(given))
    assert f"{seeds} seed" in estimate.lack
    assert f"needs {seeds_needed(tasks)}" in estimate.lack
    assert improvement_estimate(given, scores(30, tasks, 1)).interval is None
    assert profile_of(given, np.linspace(-1.0, 1.0, 5)).interval is None


def test_with_enough_seeds_the_interval_is_rliables() -> None:
    given = scores(6, 2)
    np.random.seed(0)
    point, bounds = library.get_interval_estimates(
        {"": given}, lambda s: np.array([metrics.aggregate_iqm(s)]), reps=2000
    )
    estimate = iqm_estimate(given)
    assert estimate.value == pytest.approx(point[""][0])
    assert estimate.interval == pytest.approx(tuple(bounds[""].ravel()))
    assert estimate.lack == ""


@pytest.mark.parametrize("tasks", [1, 3])
def test_the_probability_of_improvement_is_that_of_rliable_with_ties_counted_half(tasks: int) -> None:
    for seed in range(5):
        first, second = scores(5, tasks, seed), scores(7, tasks, seed + 100)
        assert probability_of_improvement(first, second) == pytest.approx(
            metrics.probability_of_improvement(first, second)
        )
        assert probability_of_improvement(first, second) + probability_of_improvement(second, first) == pytest.approx(1)
    same = scores(5, tasks)
    assert probability_of_improvement(same, same) == 0.5
    assert probability_of_improvement(same + 10.0, same) == 1.0


def test_the_interval_of_an_improvement_is_rliables_and_reproducible() -> None:
    first, second = scores(6, 2, 0), scores(8, 2, 1)
    np.random.seed(0)
    _, bounds = library.get_interval_estimates(
        {"": [first, second]}, lambda x, y: np.array([metrics.probability_of_improvement(x, y)]), reps=2000
    )
    estimate = improvement_estimate(first, second)
    assert estimate.interval == pytest.approx(tuple(bounds[""].ravel()))
    assert estimate == improvement_estimate(first, second)


def test_profiles_and_their_intervals_are_rliables() -> None:
    given = scores(6, 2)
    thresholds = thresholds_of([given, scores(3, 2, 1)])
    np.random.seed(0)
    share, bounds = library.create_performance_profile({"": given}, thresholds, reps=2000)
    found = profile_of(given, thresholds)
    assert np.array_equal(found.share, share[""])
    assert found.interval is not None
    assert np.allclose(found.interval, bounds[""])


def test_a_profile_falls_from_one_below_all_scores_to_zero_at_the_best() -> None:
    given = np.array([[1.0], [2.0], [3.0], [4.0]])
    assert profile_of(given, np.array([0.0, 1.0, 2.5, 4.0])).share.tolist() == [1.0, 0.75, 0.5, 0.0]
    assert thresholds_of([given])[[0, -1]].tolist() == [1.0, 4.0]


def test_every_task_of_a_group_counts_with_as_many_seeds() -> None:
    assert score_matrix({"a": [1.0, 2.0, 3.0], "b": [10.0, 20.0]}).tolist() == [[1.0, 10.0], [2.0, 20.0]]
