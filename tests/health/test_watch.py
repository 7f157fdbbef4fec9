# SPDX-License-Identifier: BSD-3-Clause
"""The watch warns once per rule and keeps a bounded history."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from trudi_rsl.health import Watch
from trudi_rsl.health.rules import MIN_KEPT


def test_each_rule_warns_only_once() -> None:
    watch = Watch({})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = [name for _ in range(100) for name in watch.observe({"action_saturation": 0.9}, 1.0)]
    assert found == ["saturated actions"]
    assert ["90 % of all action components" in str(warning.message) for warning in caught] == [True]


def test_the_time_between_two_calls_is_the_duration_unless_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 12.0, 15.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    watch = Watch({})
    for _ in range(3):
        watch.observe({})
    np.testing.assert_array_equal(watch.history.scalars["seconds"], [np.nan, 2.0, 3.0])


def test_the_last_iterations_are_kept_with_their_numbers() -> None:
    watch = Watch({})
    total = 3 * MIN_KEPT + 10
    for iteration in range(total):
        watch.observe({"q_mean": iteration} | ({"late": 1.0} if iteration >= total - 5 else {}), 1.0)
    history = watch.history
    assert MIN_KEPT <= len(history) <= 2 * MIN_KEPT
    assert history.iterations[-1] == total - 1
    np.testing.assert_array_equal(history.scalars["q_mean"], history.iterations)
    np.testing.assert_array_equal(np.isfinite(history.scalars["late"]), history.iterations >= total - 5)
