# SPDX-License-Identifier: BSD-3-Clause
"""MuJoCo Playground's tasks as RSL-RL environments. Importing this package imports neither JAX nor the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trudi_rsl.hosts.playground.env import PlaygroundVecEnv

__all__ = ["PlaygroundVecEnv"]


def __getattr__(name: str) -> Any:
    if name == "PlaygroundVecEnv":
        from trudi_rsl.hosts.playground.env import PlaygroundVecEnv

        return PlaygroundVecEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
