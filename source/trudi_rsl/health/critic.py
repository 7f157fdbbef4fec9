# SPDX-License-Identifier: BSD-3-Clause
"""Rules about the critic: targets outside its range, and gradients that have died."""

from __future__ import annotations

import numpy as np

from trudi_rsl.health.history import Finding, History

MAX_CLIPPED_SHARE = 0.01
"""Largest share of clipped targets. Each pulls the critic to the end of its range, and from there an actor's gradient
points nowhere; below 1 % the others outweigh them."""

CLIPPED_FOR = 5
"""Iterations in a row with more clipped targets than that. A fresh critic's first soft targets go beyond any good range
for an iteration or two, those of built-in presets too; an automatic range mends itself within one."""

MIN_GRADIENT_NORM = 0.2
"""Smallest norm of the critic's gradient. HL-Gauss codes do not grow with the rewards, so a critic that learns has 1 to
3 on any task. What one whose targets all get the same code has left, its feature loss's, is at most 0.15."""

DEAD_FOR = 20
"""Iterations in a row with a smaller norm."""

SAME_CODE = 2.0
"""Distance of a value from 0, in bins, within which its code is that of a fresh critic. A task that is solved leaves no
gradient either, but values that differ from 0 by more: they have been learned."""


def clipped_targets(history: History) -> Finding | None:
    """Find targets outside a configured value range."""
    if history.settings.get("value_range", ()) in ("auto", None):
        return None
    ill = history.scalars["clipped_targets"] > MAX_CLIPPED_SHARE
    if len(history) < CLIPPED_FOR or not ill[-CLIPPED_FOR:].all():
        return None
    share = history.tail("clipped_targets", CLIPPED_FOR).mean()
    low, high = (history.scalars[f"value_range_{end}"][-1] for end in ("low", "high"))
    return Finding(
        f"{100 * share:.1f} % of the targets lie outside the critic's value range [{low:g}, {high:g}] and are clipped.",
        "Widen algorithm.value_range, or set it to auto: agent.algorithm.value_range=auto.",
        history.start_of(ill),
    )


def dead_critic(history: History) -> Finding | None:
    """Find a critic that has stopped learning while there is nothing that it has learned."""
    bins = history.setting("num_bins")
    ill = history.scalars["critic_grad_norm"] < MIN_GRADIENT_NORM
    if not bins or len(history) < DEAD_FOR or not ill[-DEAD_FOR:].all():
        return None
    gradient, clipped, value, low, high = (
        float(np.median(history.tail(name, DEAD_FOR)))
        for name in ("critic_grad_norm", "clipped_targets", "q_mean", "value_range_low", "value_range_high")
    )
    width = (high - low) / (bins - 1)
    if clipped > MAX_CLIPPED_SHARE:
        remedy = f"Most of its targets lie outside [{low:g}, {high:g}]: agent.algorithm.value_range=auto."
    elif abs(value) < SAME_CODE * width:
        remedy = (
            f"All values lie near 0, within {SAME_CODE:g} of its bins, each {width:.2g} wide: narrow "
            "algorithm.value_range, or agent.algorithm.value_range=auto; with that, look whether the task gives any "
            "rewards."
        )
    else:
        return None
    what = f"The norm of the critic's gradient is {gradient:.2g}, where one that learns has 1 to 3."
    return Finding(what, remedy, history.start_of(ill))
