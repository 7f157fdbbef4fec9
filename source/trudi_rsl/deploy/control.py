# SPDX-License-Identifier: BSD-3-Clause
"""Stepping a policy at its control period. Needs only numpy and onnxruntime."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from trudi_rsl.deploy.contract import Array, ContractError
from trudi_rsl.deploy.runtime import Latency, Policy


@dataclass(frozen=True)
class LoopReport:
    """Timing of a control loop; a step's time covers reading, acting and writing."""

    num_steps: int
    num_late: int
    """Steps that took longer than the period."""
    ms_p50: float
    ms_p99: float
    ms_worst: float


def control_loop(
    policy: Policy,
    read: Callable[[], ArrayLike | Mapping[str, ArrayLike]],
    write: Callable[[Array], None],
    num_steps: int,
    period_s: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> LoopReport:
    """Read an observation, act and write the action once per period.

    A late step delays the following ones; no step is skipped to catch up.

    Args:
        policy: The policy, which is reset first.
        read: Returns the observation, in either form that the policy accepts.
        write: Receives the action ``[A]``.
        num_steps: Steps to run, at least 1.
        period_s: Control period in seconds, above 0; None is the period of training.
        clock: Returns monotonic seconds.
        sleep: Blocks for a number of seconds.

    Raises:
        ContractError: If no period is given and the file does not hold one.
        PolicyStoppedError: Raised by the policy. The robot keeps the last action that was written; the caller must
            bring it to a safe state.
        ValueError: If an option is out of range.
    """
    period = policy.contract.control_period_s if period_s is None else period_s
    if period is None:
        raise ContractError("The policy's file does not hold its control period; pass period_s.")
    if not period > 0.0 or num_steps < 1:
        raise ValueError(f"period_s must be above 0 and num_steps at least 1, got {period} and {num_steps}.")
    latency = policy.latency_ms()
    if latency.p99 > 1e3 * period:
        warnings.warn(
            f"The policy alone takes {latency.p99:.2f} ms at the 99th percentile, longer than the control period of "
            f"{1e3 * period:.2f} ms.",
            RuntimeWarning,
            stacklevel=2,
        )
    policy.reset()
    seconds = np.empty(num_steps)
    begin = clock()
    for step in range(num_steps):
        write(policy(read()))
        seconds[step] = clock() - begin
        sleep(max(0.0, period - seconds[step]))
        begin += max(period, seconds[step])
    return LoopReport(num_steps, int((seconds > period).sum()), *Latency.from_seconds(seconds))
