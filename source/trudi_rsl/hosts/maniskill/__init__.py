# SPDX-License-Identifier: BSD-3-Clause
"""ManiSkill3's tasks as RSL-RL environments. Importing this package does not import the simulator."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "ManiSkillVecEnv":
        from trudi_rsl.hosts.maniskill.env import ManiSkillVecEnv

        return ManiSkillVecEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
