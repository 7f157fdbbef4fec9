# SPDX-License-Identifier: BSD-3-Clause
"""Names of the scalars that algorithms log, and the headings under which TensorBoard shows them.

An algorithm's ``update`` returns scalars by name. RSL-RL's logger puts all of them under ``Loss/``; this package's
runner leaves only losses there. ``docs/log.md`` explains each scalar.
"""

from __future__ import annotations

LOSS = "Loss"
"""Heading of losses, and of everything that RSL-RL's own logger writes."""

OTHER = "Other"
"""Heading of scalars that this package does not know, such as those that a hook adds."""

LOSSES = ("critic", "feature", "actor", "value", "value_function", "surrogate", "rnd", "symmetry")
"""Scalars that are losses, of all algorithms and of RSL-RL's extensions."""

HEADINGS: dict[str, tuple[str, ...]] = {
    LOSS: LOSSES,
    "TrustRegion": ("path_kl", "path_kl_max", "gated_share", "lambda"),
    "Entropy": ("entropy_per_dim", "entropy_target_per_dim", "alpha", "entropy"),
    "Critic": ("q_mean", "td_error", "clipped_targets", "value_range_low", "value_range_high", "critic_grad_norm"),
    "Policy": ("action_saturation", "friction", "ratio_deviation", "actor_grad_norm"),
    "Health": ("skipped_updates", "nonfinite_envs", "observation_shift"),
}
"""Headings in their order on the console, and the names of their scalars."""

_HEADING_OF = {name: heading for heading, names in HEADINGS.items() for name in names}


def tag_of(name: str) -> str:
    """Return the tag under which this package's runner logs a scalar."""
    return f"{_HEADING_OF.get(name, OTHER)}/{name}"


def name_of(tag: str) -> str:
    """Return the name of the scalar that a tag of :func:`tag_of` or of RSL-RL's logger belongs to."""
    return tag.rpartition("/")[2]


def tags_of(tag: str) -> tuple[str, ...]:
    """Return the tags under which the same scalar may have been logged, the given one first.

    Runs of RSL-RL's own runner, and of earlier versions of this package, have all scalars under ``Loss/``.
    """
    heading, _, name = tag.rpartition("/")
    if heading not in (*HEADINGS, OTHER):
        return (tag,)
    return tuple(dict.fromkeys((tag, tag_of(name), f"{LOSS}/{name}")))
