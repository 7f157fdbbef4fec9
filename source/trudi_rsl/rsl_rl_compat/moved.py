# SPDX-License-Identifier: BSD-3-Clause
"""What RSL-RL versions keep in different places or under different names, as the newest one has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import rsl_rl.utils
from tensordict import TensorDict
from torch import nn

from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE

if POLICY_STYLE:
    from rsl_rl.networks import EmpiricalNormalization  # pyright: ignore[reportMissingImports]
else:
    from rsl_rl.modules import EmpiricalNormalization

try:
    from rsl_rl.utils import resolve_callable
except ImportError:  # before 3.3, which understand ``module:name`` alone
    from rsl_rl.utils import string_to_callable as resolve_callable  # pyright: ignore[reportAttributeAccessIssue]

__all__ = ["EmpiricalNormalization", "policy_of", "policy_sets", "resolve_callable", "resolve_obs_groups"]


def policy_of(algorithm: Any) -> nn.Module:
    """Return the policy of an algorithm, PPO's too."""
    return algorithm.policy if POLICY_STYLE else algorithm.get_policy()


def policy_sets(obs_groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return observation sets with the actor's also under ``policy``, the name RSL-RL 3.x reads it by."""
    sets = {name: list(groups) for name, groups in obs_groups.items()}
    return {"policy": sets["actor"], **sets} if "actor" in sets else sets


def resolve_obs_groups(
    obs: TensorDict, obs_groups: Mapping[str, Sequence[str]], default_sets: Sequence[str]
) -> dict[str, list[str]]:
    """Return ``obs_groups`` completed by the default sets, as RSL-RL 4 and newer do.

    Raises:
        ValueError: If RSL-RL finds no groups for a set.
    """
    if not POLICY_STYLE:
        sets = {name: list(groups) for name, groups in obs_groups.items()}
        return rsl_rl.utils.resolve_obs_groups(obs, sets, list(default_sets))
    others = [name for name in default_sets if name != "actor"]
    resolved = rsl_rl.utils.resolve_obs_groups(obs, policy_sets(obs_groups), others)
    return {"actor": resolved["policy"], **resolved}
