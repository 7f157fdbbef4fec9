# SPDX-License-Identifier: BSD-3-Clause
"""Rules about learning: the critic's targets and gradient, the trust region, the entropy and the actions."""

from __future__ import annotations

import math

import numpy as np

from trudi_rsl.errors import setting
from trudi_rsl.health.history import Finding, History, override_value

MAX_CLIPPED_SHARE = 0.01
"""Largest share of clipped targets. Each pulls the critic to the end of its range, where the actor's gradient carries
no information; below 1 % the other targets dominate."""
CLIPPED_FOR = 5
"""Iterations in a row with more clipped targets. The first soft targets of a fresh critic leave any sensible range for
an iteration or two, also with the built-in presets; an automatic range adapts within one iteration."""

MIN_GRADIENT_NORM = 0.2
"""Smallest norm of the critic's gradient. HL-Gauss codes do not scale with the rewards, so that a learning critic has a
norm of 1 to 3 on any task. If all targets have the same code, only the feature loss is left, with at most 0.15."""
DEAD_FOR = 20
"""Iterations in a row with a smaller norm."""
SAME_CODE = 2.0
"""Distance of a value from 0, in bins, within which its code is that of a fresh critic. On a solved task the gradient
vanishes as well, but there the learned values are further from 0."""

SMOOTHING = 5
"""Window of the running median of the path KL and the entropy, whose single values fluctuate, in iterations."""
GROWTH = 100.0
"""Factor by which the multiplier lambda could have grown while the KL stays too high, and by which the temperature
alpha has changed while the entropy stays off its target. From 0.01, lambda grows by a factor of 15 to 20 until a KL of
4 or 8 eps has fallen; alpha settles within a factor of 20 to 30 from 0.01 or 1."""

KL_EXCESS = 2.0
"""Path KL in units of eps above which the trust region fails; in steady state the mean is within 10 % of eps."""
KL_PATIENCE = 20
"""Iterations for which the KL must stay too high, at least."""
FAR = 10.0
"""Path KL in units of eps that needs no patience. Healthy runs reach 4 to 8 eps before lambda has grown."""
FAR_FOR = 3
"""Iterations before that is judged: the first ones measure little more than the initial policy."""
USUAL_KL_BOUND = 0.1
"""Smallest of the best bounds in the paper, nats."""
KL_SETTINGS = ("kl_bound", "learning_rate", "num_learning_epochs", "num_mini_batches")

ENTROPY_GAP = 0.2
"""Distance of the entropy from its target, nats per dimension, up to which a run is on target."""
CLOSING = 0.9
"""The gap is closing if its median in the second half of the window is below this share of that in the first half."""

MAX_SATURATION = 0.65
"""Share of action components beyond 0.99 of their bounds. A larger share contradicts the default entropy target: with
shares ``p/2`` at each bound, ``p ln(0.02 / p) + (1 - p) ln(1.98 / (1 - p)) >= -1.665`` requires ``p <= 0.65``. A fresh
chain, a Gaussian with standard deviation 2.5 before tanh, has 0.29."""
SATURATED_FOR = 20
"""Iterations in a row with a larger share."""


def clipped_targets(history: History) -> Finding | None:
    """Find targets outside of a configured value range."""
    clipped = history.scalars["clipped_targets"]
    violated = clipped > MAX_CLIPPED_SHARE
    if history.settings.get("value_range", ()) in ("auto", None) or not violated[-CLIPPED_FOR:].all():
        return None
    low, high = (history.scalars[f"value_range_{end}"][-1] for end in ("low", "high"))
    return Finding(
        f"{100 * clipped[-CLIPPED_FOR:].mean():.1f} % of the targets lie outside the critic's value range "
        f"[{low:g}, {high:g}] and are clipped.",
        f"Widen {setting('algorithm.value_range')}, or let it be found: {_automatic_range()}.",
        history.start_of(violated),
    )


def _automatic_range() -> str:
    return setting("algorithm.value_range", "'auto'")


def dead_critic(history: History) -> Finding | None:
    """Find a critic that no longer learns although its targets are clipped or its values still near 0."""
    violated = history.scalars["critic_grad_norm"] < MIN_GRADIENT_NORM
    if not violated[-DEAD_FOR:].all():
        return None
    gradient, clipped, value, low, high = (
        float(np.median(history.scalars[name][-DEAD_FOR:]))
        for name in ("critic_grad_norm", "clipped_targets", "q_mean", "value_range_low", "value_range_high")
    )
    width = (high - low) / (history.settings["num_bins"] - 1)
    if clipped > MAX_CLIPPED_SHARE:
        remedy = f"Most of its targets lie outside [{low:g}, {high:g}]: {_automatic_range()}."
    elif abs(value) < SAME_CODE * width:
        remedy = (
            f"All values are within {SAME_CODE:g} bins, each {width:.2g} wide, of 0: narrow "
            f"{setting('algorithm.value_range')}, or let it be found: {_automatic_range()}; then check that the task "
            "yields rewards."
        )
    else:
        return None
    what = f"The norm of the critic's gradient is {gradient:.2g}; that of a learning critic is 1 to 3."
    return Finding(what, remedy, history.start_of(violated))


def kl_above_bound(history: History) -> Finding | None:
    """Find a path KL above the trust region that the multiplier lambda does not reduce."""
    bound, path_kl = history.settings["kl_bound"], history.scalars["path_kl"]
    violated = _running_median(path_kl) > KL_EXCESS * bound
    since = history.start_of(violated)
    window = path_kl[history.iterations >= since]
    if not violated[-1] or len(window) < kl_iterations(history):
        return None
    level = float(np.median(window))
    return Finding(
        f"The path KL stays at {level:.2g} nats, {level / bound:.0f} times kl_bound = {bound:g}: most "
        "updates only lead back into it.",
        _smaller_steps(history),
        since,
    )


def kl_far_above_bound(history: History) -> Finding | None:
    """Find a path KL so far above the trust region that it is reported at once.

    :func:`kl_above_bound` takes over when it has lasted long enough.
    """
    bound, path_kl = history.settings["kl_bound"], history.scalars["path_kl"]
    violated = path_kl > FAR * bound
    since = history.start_of(violated)
    lasts_for = (history.iterations >= since).sum()
    lasts = all(map(history.setting, KL_SETTINGS)) and lasts_for >= kl_iterations(history)
    if not violated[-1] or lasts:
        return None
    return Finding(
        f"The path KL is {path_kl[-1]:.3g} nats, {path_kl[-1] / bound:.0f} times kl_bound = {bound:g}: updates lead "
        "far out of the trust region.",
        f"{_smaller_steps(history)} If the multiplier lambda is still growing, watch whether path_kl falls.",
        since,
    )


def _smaller_steps(history: History) -> str:
    """Return how to change the policy less in each iteration, as a sentence."""
    bound, rate, epochs = (history.setting(name) for name in KL_SETTINGS[:3])
    too_narrow = bound is not None and bound < USUAL_KL_BOUND
    wider = f"{setting('algorithm.kl_bound', str(USUAL_KL_BOUND))} or " if too_narrow else ""
    lower = setting("algorithm.learning_rate", override_value(rate / 3)) if rate else "a lower learning_rate"
    current = f", currently {epochs:g}" if epochs else ""
    return (
        f"Each iteration changes the policy too much: {wider}{lower}, or fewer "
        f"{setting('algorithm.num_learning_epochs')}{current}."
    )


def kl_iterations(history: History) -> int:
    """Return the iterations for which the path KL must stay too high."""
    return max(KL_PATIENCE, growth_iterations(history))


def growth_iterations(history: History) -> int:
    """Return the iterations in which lambda and alpha can change by :data:`GROWTH`; 1 if settings are unknown.

    Adam changes their logarithms by at most the learning rate per update.
    """
    rates = [history.setting(name) or 0.0 for name in KL_SETTINGS[1:]]
    return int(min(np.ceil(np.log(GROWTH) / math.prod(rates)), 2**53)) if all(rates) else 1


def entropy_target_missed(history: History) -> Finding | None:
    """Find a temperature that keeps growing or falling while the entropy stays off its target."""
    target = float(history.scalars["entropy_target_per_dim"][-1])
    gaps = _running_median(history.scalars["entropy_per_dim"]) - target
    side = np.sign(gaps[-1])
    violated = side * gaps > ENTROPY_GAP
    log_alpha = np.log(history.scalars["alpha"])
    # above the target alpha falls, below it alpha grows
    starts = np.flatnonzero(side * (log_alpha - log_alpha[-1]) >= np.log(GROWTH))
    if not len(starts):
        return None
    window = slice(starts[-1], None)
    first, second = np.array_split(np.abs(gaps[window]), 2)
    if not violated[window].all() or np.median(second) < CLOSING * np.median(first):
        return None
    entropy = float(np.median(history.scalars["entropy_per_dim"][-10:]))
    alpha = history.scalars["alpha"][window]
    grew = side < 0
    remedy = setting("algorithm.entropy_target_per_dim", f"{entropy - 0.1 if grew else entropy:.2f}")
    if grew:
        remedy += f"; or, if rewards are large, {setting('algorithm.init_alpha', override_value(alpha[-1]))}"
    return Finding(
        f"The entropy stays at {entropy:.2f} nats per dimension, off its target {target:.2f}, while the temperature "
        f"alpha {'grew' if grew else 'fell'} from {alpha[0]:.1g} to {alpha[-1]:.1g}.",
        f"The policy cannot reach the target on this task: {remedy}.",
        history.start_of(violated),
    )


def saturated_actions(history: History) -> Finding | None:
    """Find a policy whose actions are mostly at their bounds."""
    saturation = history.scalars["action_saturation"]
    violated = saturation > MAX_SATURATION
    if not violated[-SATURATED_FOR:].all():
        return None
    alpha = history.setting("init_alpha")
    raised = setting("algorithm.init_alpha", override_value(10 * alpha)) if alpha else "raise init_alpha"
    return Finding(
        f"{100 * saturation[-SATURATED_FOR:].mean():.0f} % of all action components lie within 1 % of their bounds.",
        f"If the task needs wider bounds, set {setting('algorithm.action_bounds')} (for Gymnasium tasks "
        f"env.action_bounds); else the rewards outweigh the entropy: {raised}.",
        history.start_of(violated),
    )


def _running_median(values: np.ndarray) -> np.ndarray:
    """Return the median ``[n]`` over each value ``[n]`` and the :data:`SMOOTHING` - 1 before it."""
    padded = np.concatenate([np.full(SMOOTHING - 1, values[0]), values])
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING), axis=-1)
