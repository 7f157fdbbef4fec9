# SPDX-License-Identifier: BSD-3-Clause
"""Rules about what the task gives: observations that run away, and time."""

from __future__ import annotations

import numpy as np

from trudi_rsl.health.history import Finding, History

MAX_SHIFT = 1.5
"""Distance between a rollout's mean observation and the running mean, in running standard deviations. An observation
that grows linearly without end stays at sqrt(3) = 1.73 for ever, one that grows faster beyond; after a single change
the distance ``sqrt((1 - p) / p)``, ``p`` the share of the time since then, falls below 1.5 for ``p`` > 0.31."""

DRIFT_SHARE = 0.5
"""Share of the run, its latest, in which every iteration has to be that far off: more than the 0.31 that a change for
good, as learning is one, can last."""

DRIFT_ITERATIONS = 30
"""Iterations before which no observation has drifted: a task's first episodes are not over yet."""

SETTLING = 5
"""First iterations of a run, in which code is compiled and memory is taken."""

PACE = 20
"""Iterations whose median time is a pace."""

SLOWDOWN = 2.0
"""Pace, in units of the first one, that is an illness: another program on the machine seldom takes more than half."""


def normaliser_drift(history: History) -> Finding | None:
    """Find observations that leave the running statistics of their normaliser behind."""
    if history.settings.get("obs_normalization") is False:
        return None
    ill = history.scalars["observation_shift"] > MAX_SHIFT
    half = DRIFT_SHARE * (1 + history.iterations[-1])
    late = history.iterations >= half
    if len(history) < DRIFT_ITERATIONS or history.iterations[0] > half or not ill[late].all():
        return None
    shift = float(np.median(history.scalars["observation_shift"][late]))
    return drifting(shift, history.start_of(ill))


def drifting(shift: float, since: int | None = None) -> Finding:
    """Return the finding that observations drift, however that was noticed.

    Args:
        shift: Their distance from the running mean, in standard deviations.
        since: First iteration, where known.
    """
    return Finding(
        f"Some observation stays {shift:.1f} standard deviations from its running mean in the run's second half: it "
        "drifts, and the normaliser never catches up.",
        "Find an entry of the observation that grows without end (a clock, a distance travelled, an absolute position) "
        "and wrap or remove it, or give bounded observations as they are: agent.algorithm.obs_normalization=false.",
        since,
    )


def falling_throughput(history: History) -> Finding | None:
    """Find iterations that take twice as long as they did; those without an update take less."""
    history = history.rows(~history.without_update())
    if len(history) < SETTLING + 2 * PACE:
        return None
    seconds = history.scalars["seconds"]
    first, last = _pace(seconds[SETTLING:][:PACE]), _pace(seconds[-PACE:])
    if not last > SLOWDOWN * first:
        return None
    return Finding(
        f"An iteration takes {last:.2g} s, {last / first:.1f} times what it took at first{_part(history)}.",
        "Look for what piles up in the task (objects, contacts, logs), for memory that runs out (fewer env.num_envs), "
        "and for other programs on the machine (agent.num_threads).",
        history.start_of(seconds > SLOWDOWN * first),
    )


def _pace(seconds: np.ndarray) -> float:
    return float(np.nanmedian(seconds))


def _part(history: History) -> str:
    """Return which part of an iteration became slower, where both are known."""
    names = {"collection_seconds": "collecting", "learning_seconds": "learning"}
    if not history.has(*names):
        return ""
    lost = {
        text: _pace(history.tail(name, PACE)) - _pace(history.scalars[name][SETTLING:][:PACE])
        for name, text in names.items()
    }
    return f", most of it lost in {max(lost, key=lambda text: lost[text])}"
