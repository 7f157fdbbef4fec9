# SPDX-License-Identifier: BSD-3-Clause
"""Rules about NaN and infinity: updates that were skipped for them, and simulators that give them again and again."""

from __future__ import annotations

import numpy as np

from trudi_rsl.health.history import Finding, History, plain

RECENT = 20
"""Iterations that count as the last ones."""

OFTEN = 3
"""Iterations among them that make an illness. A single fault meets two, if environments are reset after a rollout that
it ends; and where one iteration in 45 met NaN nothing was lost by it (``docs/results.md``). What ends training is found
before: that takes ``max_skipped_updates`` in a row, five."""

HUGE_VALUE = 1e15
"""End of the critic's range from which a gradient may be infinite at any learning rate: the actor's grows with the
values, and the squares of a million such parts reach float32's end, 3.4e38, at 2e16."""

LOOK_AT_THE_SIMULATOR = (
    "Give the simulator a smaller time step (env.sim.dt in Isaac Lab, env.sim.mujoco.timestep in mjlab, with a higher "
    "env.decimation), end episodes before they explode, and look for a division by zero in the task's rewards and "
    "observations."
)


def skipped_updates(history: History) -> Finding | None:
    """Find updates that are skipped again and again."""
    skipped = history.scalars["skipped_updates"] > 0
    if (since := _recurs_since(history, skipped)) is None:
        return None
    rollouts = int(history.without_update()[-RECENT:].sum())
    gradients = int(skipped[-RECENT:].sum()) - rollouts
    causes = {"because more than half of the rollout was": rollouts, "for a gradient that was": gradients}
    counted = ", ".join(f"{number} {cause} NaN or infinite" for cause, number in causes.items() if number)
    return Finding(
        f"{rollouts + gradients} of the last {len(skipped[-RECENT:])} updates were skipped: {counted}.",
        LOOK_AT_THE_SIMULATOR if rollouts >= gradients else _for_gradients(history),
        since,
    )


def faulty_environments(history: History) -> Finding | None:
    """Find a simulator that gives NaN in some environments again and again, though there is enough to learn from."""
    envs = np.where(history.without_update(), 0.0, history.scalars["nonfinite_envs"])
    if (since := _recurs_since(history, envs > 0)) is None:
        return None
    recent = envs[-RECENT:]
    return Finding(
        f"In {(recent > 0).sum()} of the last {len(recent)} iterations the simulator gave NaN or infinity in some "
        f"environments, {recent.max():.0f} at most; what they gave is not learned from.",
        f"{LOOK_AT_THE_SIMULATOR} The first of them, its step and what it gave are named in what training printed.",
        since,
    )


def _recurs_since(history: History, ill: np.ndarray) -> int | None:
    """Return the first of the iterations that are ``ill``, bool ``[n]``, again and again up to now; None if few are."""
    if ill[-RECENT:].sum() < OFTEN:
        return None
    at = np.flatnonzero(ill)
    begun = at[np.diff(at, prepend=-RECENT) >= RECENT]
    return int(history.iterations[begun[-1]])


def _for_gradients(history: History) -> str:
    """Return what to change where gradients are not finite."""
    rate = history.setting("learning_rate")
    lower = f"={plain(rate / 3)}" if rate else " lower than now"
    earlier = (
        f"an earlier checkpoint with agent.algorithm.learning_rate{lower}, or a lower agent.algorithm.max_grad_norm."
    )
    ends = [history.tail(name, RECENT) for name in ("value_range_low", "value_range_high") if history.has(name)]
    reach = np.nan_to_num(np.abs(ends)).max(initial=0.0)
    if reach > HUGE_VALUE:
        return (
            f"The critic's values reach {reach:.1g}: scale the task's rewards to numbers near 1, or set "
            "algorithm.value_range to the returns that it should have; where they are not that large, resume from "
            f"{earlier}"
        )
    return f"Resume from {earlier}"
