# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of RSL-RL 3 in the layout of RSL-RL 4 and newer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODULE_PREFIX = "actor_critic."
"""How the names of the module's entries start in a policy saved by RSL-RL 3."""

SPEC_KEY = "_extra_state"
"""Where torch keeps what a module saves beside its tensors; here the ``trudi`` section."""


def to_contract_layout(checkpoint: dict[str, Any], parts: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Return a checkpoint in the layout that TruDi's ``save`` has under RSL-RL 4 and newer.

    RSL-RL 3 saves ``model_state_dict`` (the policy) and ``optimizer_state_dict`` (all else that a resume needs).

    Args:
        checkpoint: What a runner of any version saved; one that is not TruDi's under RSL-RL 3 comes back as it is.
        parts: Keys of the layout to the prefixes of the module's entries that belong under them.
    """
    policy = checkpoint.get("model_state_dict")
    if not isinstance(policy, Mapping) or SPEC_KEY not in policy:
        return checkpoint
    entries = {k.removeprefix(MODULE_PREFIX): v for k, v in policy.items() if k != SPEC_KEY}
    others = {k: v for k, v in checkpoint.items() if k not in ("model_state_dict", "optimizer_state_dict")}
    return {
        **others,
        **{key: {k: v for k, v in entries.items() if k.startswith(prefixes)} for key, prefixes in parts.items()},
        **checkpoint.get("optimizer_state_dict", {}),
        "trudi": policy[SPEC_KEY],
    }
