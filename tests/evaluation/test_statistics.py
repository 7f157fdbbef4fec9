# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of returns against hand computation."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from trudi_rsl.evaluation.statistics import interval, summarize


def test_mean_standard_deviation_and_iqm_of_four_returns() -> None:
    summary = summarize([100.0, 0.0, 4.0, 8.0])
    assert (summary.mean, summary.iqm, summary.count) == (28.0, 6.0, 4)
    assert summary.std == pytest.approx(math.sqrt((72**2 + 28**2 + 24**2 + 20**2) / 3))


def test_the_iqm_drops_the_floor_of_a_quarter_at_each_end() -> None:
    assert summarize([1.0, 2.0, 9.0]).iqm == 4.0
    assert summarize([0.0, 1.0, 2.0, 3.0, 1000.0]).iqm == 2.0


def test_a_single_return_has_no_standard_deviation() -> None:
    summary = summarize([5.0])
    assert math.isnan(summary.std)
    assert (summary.mean, summary.iqm, summary.count) == (5.0, 5.0, 1)


def test_no_returns_are_refused() -> None:
    with pytest.raises(ValueError, match="no returns"):
        summarize([])


def test_the_interval_of_two_seeds_is_the_quantiles_of_their_four_resamples() -> None:
    # Resamples of (0, 1) have IQM 0, 1/2, 1/2, 1 with equal chance.
    wide, narrow = interval([0.0, 1.0]), interval([0.0, 1.0], confidence=0.4)
    assert (wide.low, wide.iqm, wide.high) == (0.0, 0.5, 1.0)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_seeds_are_resampled_within_each_task() -> None:
    constant_per_task = interval([[1.0, 10.0], [1.0, 10.0], [1.0, 10.0]])
    assert (constant_per_task.low, constant_per_task.iqm, constant_per_task.high) == (5.5, 5.5, 5.5)


def test_the_interval_is_reproducible_and_leaves_the_callers_random_numbers_alone() -> None:
    scores = np.arange(10.0) ** 2
    np.random.seed(3)
    first = interval(scores, resamples=50)
    drawn = np.random.random()
    np.random.seed(4)
    assert interval(scores, resamples=50) == first
    assert interval(scores, resamples=50, seed=1) != first
    np.random.seed(3)
    assert np.random.random() == drawn


@pytest.mark.parametrize(
    ("scores", "confidence", "message"),
    [([], 0.95, "not empty"), (np.zeros((2, 2, 2)), 0.95, r"\(2, 2, 2\)"), ([1.0], 1.0, r"in \(0, 1\), got 1.0")],
)
def test_impossible_intervals_are_refused(scores: object, confidence: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interval(scores, confidence)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("missing", "statement"),
    [("rliable", "summarize([1.0])"), ("arch.bootstrap", "interval([1.0, 2.0])")],
)
def test_without_rliable_the_error_is_the_install_command(missing: str, statement: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from trudi_rsl.evaluation.statistics import *; {statement}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.returncode != 0
    assert 'pip install "trudi_rsl[eval]"' in result.stderr.strip().splitlines()[-1]
