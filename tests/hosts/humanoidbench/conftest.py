# SPDX-License-Identifier: BSD-3-Clause
"""Puts the stand-in for HumanoidBench in the place of the real one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

STAND_IN = Path(__file__).parent / "stand_in"


def forget() -> None:
    """Remove HumanoidBench, real or not, from Python's and Gymnasium's memory."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "humanoid_bench"]:
        del sys.modules[name]
    for name in [n for n, spec in gym.registry.items() if str(spec.entry_point).startswith("humanoid_bench.")]:
        del gym.registry[name]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the stand-in importable and return its folder."""
    forget()
    monkeypatch.syspath_prepend(str(STAND_IN))
    yield STAND_IN / "humanoid_bench"
    forget()
