# SPDX-License-Identifier: BSD-3-Clause
"""A policy is stepped once per control period, and late steps are counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.deploy.drift import GOOD, changed
from trudi_rsl.deploy import ContractError, LoopReport, Policy, control_loop


class Clock:
    """A clock that only sleeping and :meth:`spend` move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


def run(policy: Policy, costs: list[float], period: float | None) -> tuple[list[float], list[np.ndarray], LoopReport]:
    """Return when observations were read, what was written, and the report; reading step i takes ``costs[i]``."""
    clock, times, written = Clock(), [], []

    def read() -> np.ndarray:
        times.append(clock.now - 100.0)
        clock.spend(costs[len(times) - 1])
        return GOOD + len(times)

    report = control_loop(policy, read, written.append, len(costs), period, clock, clock.spend)
    return times, written, report


def test_steps_begin_a_period_apart_and_a_late_one_delays_the_next(exported: Path) -> None:
    policy = Policy(exported)
    times, written, report = run(policy, [0.005, 0.0, 0.03, 0.01, 0.0], 0.02)
    np.testing.assert_allclose(times, [0.0, 0.02, 0.04, 0.07, 0.09])
    assert np.array_equal(written, [policy(GOOD + i) for i in range(1, 6)])
    assert (report.num_steps, report.num_late) == (5, 1)
    assert report.ms_worst == pytest.approx(30.0)
    assert report.ms_p50 == pytest.approx(5.0)


def test_the_period_is_that_of_training_unless_given(exported: Path, tmp_path: Path) -> None:
    times, *_ = run(Policy(changed(exported, tmp_path, control_period_s=0.05)), [0.0, 0.0], None)
    np.testing.assert_allclose(times, [0.0, 0.05])
    with pytest.raises(ContractError, match="period_s"):
        run(Policy(exported), [0.0], None)


def test_a_period_shorter_than_the_policys_latency_gives_a_warning(exported: Path) -> None:
    with pytest.warns(RuntimeWarning, match="longer than the control period of 0.00 ms"):
        run(Policy(exported), [0.0], 1e-9)


def test_options_out_of_range_are_refused(exported: Path) -> None:
    for steps, period in ((0, 0.02), (1, 0.0), (1, float("nan"))):
        with pytest.raises(ValueError, match="above 0 and num_steps at least 1"):
            control_loop(Policy(exported), lambda: GOOD, lambda _: None, steps, period)
