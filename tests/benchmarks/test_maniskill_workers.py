# SPDX-License-Identifier: BSD-3-Clause
"""The speedup by worker processes compares medians, so that one disturbed pass does not count."""

from __future__ import annotations

from maniskill_workers import ONE, WORKERS, speedup


def test_speedup_is_the_ratio_of_the_median_rates() -> None:
    rates = {ONE: [100.0, 1.0, 110.0], WORKERS: [190.0, 200.0, 900.0]}
    assert speedup({name: [{"env_steps_per_second": rate} for rate in found] for name, found in rates.items()}) == 2.0
