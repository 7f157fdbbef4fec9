# SPDX-License-Identifier: BSD-3-Clause
"""What a checkpoint tells of its environment, so that an export needs no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rsl_rl.env import VecEnv

from trudi_rsl.rsl_rl_compat.host_modules import host_module


def describe_environment(env: VecEnv, groups: Sequence[str]) -> dict[str, Any]:
    """Return what a robot's software has to know of an environment, as metadata of an exported policy.

    Environments with a ``step_dt`` tell ``control_period_s``; those of Isaac Lab and mjlab with managers also tell
    ``obs_terms``, ``commands``, ``actions`` and ``robot``. What an environment cannot tell is left out, and told once:
    training does not need it.

    Args:
        env: The environment.
        groups: Observation groups that the policy sees.
    """
    base: Any = getattr(env, "unwrapped", env)
    told: dict[str, Any] = {}
    period = getattr(env, "step_dt", None) or getattr(base, "step_dt", None)
    if period is not None:
        told["control_period_s"] = float(period)
    manager = getattr(base, "action_manager", None)
    host = None if manager is None else host_module(manager, "deployment")
    if host is not None:
        try:
            told |= host.describe(base, groups)
        # a project's own managers and terms may lack anything
        except Exception as error:
            print(
                "[trudi_rsl] Exports will not tell the robot's joints and observations, which could not be read: "
                f"{type(error).__name__}: {error}",
                flush=True,
            )
    return told
