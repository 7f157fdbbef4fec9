# SPDX-License-Identifier: BSD-3-Clause
"""Rules about the policy: its trust region, its entropy and its actions."""

from __future__ import annotations

import numpy as np

from trudi_rsl.health.history import Finding, History, plain

SMOOTHING = 5
"""Iterations whose median counts of a path KL or an entropy: those of a single one swing."""

KL_EXCESS = 2.0
"""Path KL, in units of eps, above which the trust region does not hold. In its steady state the mean is eps itself,
within a tenth."""

LAMBDA_FACTOR = 100.0
"""How much the trust region's multiplier has to be able to grow while the KL stays there. Adam moves its logarithm by
the learning rate per update at most. From 0.01 it takes a factor of 15 to 20, while the KL falls from 4 or 8 eps."""

KL_PATIENCE = 20
"""Iterations for which the KL has to stay there at least."""

USUAL_KL_BOUND = 0.1
"""Lowest of the bounds that the paper finds best, nats."""

KL_SETTINGS = ("kl_bound", "learning_rate", "num_learning_epochs", "num_mini_batches")
"""Settings without which there is no telling; without a trust region there are the others alone."""

ENTROPY_GAP = 0.2
"""Distance from the entropy's target, nats per dimension, that counts as none: a run on target swings by that much."""

ALPHA_FACTOR = 100.0
"""Growth or decay of the temperature that has to bring the entropy nearer to its target. One that finds its balance
changes by a factor of 20 to 30 from a start at 0.01 or 1."""

FALLING = 0.9
"""Part of its first half's gap below which the second half of that growth shows one that closes."""

MAX_SATURATION = 0.65
"""Share of action components beyond 0.99 of their bounds. More than that contradicts the default entropy target: with
shares ``p/2`` at each bound, ``p ln(0.02 / p) + (1 - p) ln(1.98 / (1 - p)) >= -1.665`` needs ``p <= 0.65``. A fresh
chain, Gaussian of deviation 2.5 before tanh, has 0.29."""

SATURATED_FOR = 20
"""Iterations in a row with more."""


def kl_above_bound(history: History) -> Finding | None:
    """Find a path KL above the trust region that the multiplier does not bring back."""
    bound, rate, epochs, batches = (history.setting(name) for name in KL_SETTINGS)
    if not (bound and rate and epochs and batches):
        return None
    ill = _smoothed(history.scalars["path_kl"]) > KL_EXCESS * bound
    since = history.start_of(ill)
    window = history.scalars["path_kl"][history.iterations >= since]
    if not ill[-1] or len(window) < max(KL_PATIENCE, np.log(LAMBDA_FACTOR) / (rate * epochs * batches)):
        return None
    level = float(np.median(window))
    wider = f"agent.algorithm.kl_bound={USUAL_KL_BOUND} or " if bound < USUAL_KL_BOUND else ""
    return Finding(
        f"The path KL stays at {level:.2g} nats, {level / bound:.0f} times the trust region eps = {bound:g}: most "
        "updates only lead back to it.",
        f"Each iteration moves the policy too far: {wider}agent.algorithm.learning_rate={plain(rate / 3)}, or fewer "
        f"agent.algorithm.num_learning_epochs, now {epochs:g}.",
        since,
    )


def entropy_target_missed(history: History) -> Finding | None:
    """Find a temperature that runs away while the entropy stays off its target."""
    target = float(history.scalars["entropy_target_per_dim"][-1])
    gaps = _smoothed(history.scalars["entropy_per_dim"]) - target
    side = np.sign(gaps[-1])
    off = side * gaps > ENTROPY_GAP
    log_alpha = np.log(history.scalars["alpha"])
    # more entropy than wanted lets the temperature fall
    begun = np.flatnonzero(side * (log_alpha - log_alpha[-1]) >= np.log(ALPHA_FACTOR))
    if not len(begun):
        return None
    window = slice(begun[-1], None)
    first, second = np.array_split(np.abs(gaps[window]), 2)
    if not off[window].all() or np.median(second) < FALLING * np.median(first):
        return None
    reached = float(np.median(history.tail("entropy_per_dim", 10)))
    alpha = history.scalars["alpha"][window]
    change = f"from {alpha[0]:.1g} to {alpha[-1]:.1g}"
    toward = f"agent.algorithm.entropy_target_per_dim={reached - 0.1 if side < 0 else reached:.2f}"
    return Finding(
        f"The entropy stays at {reached:.2f} nats per dimension, off its target {target:.2f}, while the temperature "
        f"alpha {'grew' if side < 0 else 'fell'} {change}.",
        f"This policy cannot reach the target on this task: {toward}"
        + (f"; or, where rewards are large, agent.algorithm.init_alpha={plain(alpha[-1])}." if side < 0 else "."),
        history.start_of(off),
    )


def saturated_actions(history: History) -> Finding | None:
    """Find a policy that lives at its action bounds."""
    ill = history.scalars["action_saturation"] > MAX_SATURATION
    if len(history) < SATURATED_FOR or not ill[-SATURATED_FOR:].all():
        return None
    share = float(history.tail("action_saturation", SATURATED_FOR).mean())
    alpha = history.setting("init_alpha")
    return Finding(
        f"{100 * share:.0f} % of all action components lie within 1 % of their bounds.",
        "Where the bounds are narrower than the task needs, widen algorithm.action_bounds (of Gymnasium tasks "
        "env.action_bounds); otherwise the rewards outweigh the entropy: "
        + (f"agent.algorithm.init_alpha={plain(10 * alpha)}." if alpha else "raise init_alpha."),
        history.start_of(ill),
    )


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Return the median of each value ``[n]`` and those before it, :data:`SMOOTHING` in all."""
    padded = np.concatenate([np.full(SMOOTHING - 1, values[0]), values])
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING), axis=-1)
