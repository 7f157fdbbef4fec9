# SPDX-License-Identifier: BSD-3-Clause
"""Rules about the simulator and its task: NaN and infinity, drifting observations, and speed."""

from __future__ import annotations

import numpy as np

from trudi_rsl.errors import setting
from trudi_rsl.health.history import Finding, History, override_value

RECENT = 20
"""Number of last iterations in which faults are counted."""
MIN_FAULTS = 3
"""Faults among them that violate a rule. A single fault affects two iterations if environments are reset after the
rollout that it ends, and NaN in one iteration of 45 does not slow learning (``docs/results.md``). This warning comes
before training is stopped, after ``max_skipped_updates`` (5) in a row."""
HUGE_VALUE = 1e15
"""End of the critic's range from which gradients overflow at any learning rate: the actor's gradient scales with the
values, and the sum of a million such squares exceeds float32's maximum, 3.4e38, at 2e16."""
CHECK_THE_SIMULATOR = (
    "Reduce the simulator's time step (env.sim.dt in Isaac Lab, env.sim.mujoco.timestep in mjlab, with a higher "
    "env.decimation), end episodes before the simulation diverges, and look for a division by zero in the task's "
    "rewards and observations."
)

MAX_SHIFT = 1.5
"""Distance between the mean observation of a rollout and the running mean, in running standard deviations. It stays at
sqrt(3) = 1.73 for an observation that grows linearly, and higher for one that grows faster; after a single change it is
``sqrt((1 - p) / p)``, with ``p`` the share of the time since then, and so below 1.5 for ``p`` > 0.31."""
DRIFT_SHARE = 0.5
"""Last share of the run in which every iteration must exceed that distance; more than the 0.31 of a single change, such
as that of learning."""
DRIFT_ITERATIONS = 30
"""Iterations before drift is judged: the first episodes of a task must be over."""

SETTLING = 5
"""First iterations of a run, in which code is compiled and memory allocated."""
SPEED_WINDOW = 20
"""Iterations over which the median duration is taken."""
MAX_SLOWDOWN = 2.0
"""Ratio of the last duration to the first. Other programs on the machine rarely cost more than half of the speed."""


def skipped_updates(history: History) -> Finding | None:
    """Find updates that are skipped repeatedly."""
    skipped = history.scalars["skipped_updates"] > 0
    if (since := _first_of_repeated(history, skipped)) is None:
        return None
    rollouts = int(history.without_update()[-RECENT:].sum())
    gradients = int(skipped[-RECENT:].sum()) - rollouts
    causes = {"because more than half of the rollout was": rollouts, "for a gradient that was": gradients}
    counts = ", ".join(f"{count} {cause} NaN or infinite" for cause, count in causes.items() if count)
    return Finding(
        f"{rollouts + gradients} of the last {len(skipped[-RECENT:])} updates were skipped: {counts}.",
        CHECK_THE_SIMULATOR if rollouts >= gradients else _remedy_for_gradients(history),
        since,
    )


def faulty_environments(history: History) -> Finding | None:
    """Find a simulator that repeatedly returns NaN or infinity in some environments, not enough to skip the update."""
    envs = np.where(history.without_update(), 0.0, history.scalars["nonfinite_envs"])
    if (since := _first_of_repeated(history, envs > 0)) is None:
        return None
    recent = envs[-RECENT:]
    return Finding(
        f"In {(recent > 0).sum()} of the last {len(recent)} iterations the simulator returned NaN or infinity in some "
        f"environments, at most {recent.max():.0f}; their transitions are not learned from.",
        f"{CHECK_THE_SIMULATOR} The training's output names the first faulty environment, step and quantity.",
        since,
    )


def normaliser_drift(history: History) -> Finding | None:
    """Find observations whose mean drifts faster than the running statistics of the normaliser can follow."""
    shifts = history.scalars["observation_shift"]
    violated = shifts > MAX_SHIFT
    late = history.iterations >= DRIFT_SHARE * (1 + history.iterations[-1])
    if history.settings.get("obs_normalization") is False or not violated[late].all():
        return None
    return drift_finding(float(np.median(shifts[late])), history.start_of(violated))


def drift_iterations(history: History) -> int:
    """Return the iterations that the rule about drift needs; the log must cover the second half of the run."""
    first, last = history.iterations[[0, -1]]
    missing = int(np.ceil(first / DRIFT_SHARE)) - (last + 1)
    return max(DRIFT_ITERATIONS, len(history) + int(missing))


def drift_finding(shift: float, since: int | None = None) -> Finding:
    """Return the finding of an observation that stays ``shift`` standard deviations from its running mean."""
    return Finding(
        f"An observation stays {shift:.1f} standard deviations from its running mean in the second half of the run: it "
        "drifts, and the normaliser never catches up.",
        "Look for an entry of the observation that grows without limit (a clock, a travelled distance, an absolute "
        "position) and wrap or remove it; or, if observations are bounded, "
        f"{setting('algorithm.obs_normalization', 'False')}.",
        since,
    )


def falling_throughput(history: History) -> Finding | None:
    """Find iterations that take twice as long as at first. Iterations without an update are faster, and left out."""
    history = history.select(~history.without_update())
    first, last = _first_and_last_duration(history, "seconds")
    if not last > MAX_SLOWDOWN * first:
        return None
    slower = ""
    if history.has("collection_seconds", "learning_seconds"):
        collection, learning = (
            np.diff(_first_and_last_duration(history, name)) for name in ("collection_seconds", "learning_seconds")
        )
        slower = f", mostly in {'collection' if collection >= learning else 'learning'}"
    return Finding(
        f"An iteration takes {last:.2g} s, {last / first:.1f} times as long as at first{slower}.",
        "Look for something that accumulates in the task (objects, contacts, logs), for memory that runs out (fewer "
        "env.num_envs), and for other programs on the machine (agent.num_threads).",
        history.start_of(history.scalars["seconds"] > MAX_SLOWDOWN * first),
    )


def throughput_iterations(history: History) -> int:
    """Return the iterations that the rule about throughput needs."""
    return SETTLING + 2 * SPEED_WINDOW + int(history.without_update().sum())


def _first_and_last_duration(history: History, name: str) -> tuple[float, float]:
    seconds = history.scalars[name][SETTLING:]
    return float(np.nanmedian(seconds[:SPEED_WINDOW])), float(np.nanmedian(seconds[-SPEED_WINDOW:]))


def _first_of_repeated(history: History, faulty: np.ndarray) -> int | None:
    """Return the first iteration of the current series of faults; None if there are fewer than :data:`MIN_FAULTS`.

    Faults in ``faulty``, bool ``[n]``, that are less than :data:`RECENT` iterations apart are one series.
    """
    if faulty[-RECENT:].sum() < MIN_FAULTS:
        return None
    at = np.flatnonzero(faulty)
    starts = at[np.diff(at, prepend=-RECENT) >= RECENT]
    return int(history.iterations[starts[-1]])


def _remedy_for_gradients(history: History) -> str:
    """Return what to change if gradients are not finite."""
    rate = history.setting("learning_rate")
    lower = setting("algorithm.learning_rate", override_value(rate / 3) if rate else "")
    ends = [history.scalars[name][-RECENT:] for name in ("value_range_low", "value_range_high") if history.has(name)]
    largest = np.nan_to_num(np.abs(ends)).max(initial=0.0)
    resume = "Resume from"
    if largest > HUGE_VALUE:
        resume = (
            f"The critic's values reach {largest:.1g}: scale the task's rewards to the order of 1, or set "
            f"{setting('algorithm.value_range')} to the expected returns; if the returns are not that large, resume "
            "from"
        )
    return (
        f"{resume} an earlier checkpoint with {lower}{'' if rate else ' lower than now'}, or a lower "
        f"{setting('algorithm.max_grad_norm')}."
    )
