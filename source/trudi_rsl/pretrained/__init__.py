# SPDX-License-Identifier: BSD-3-Clause
"""Trained policies that come with the package: ``<name>.onnx``, ``<name>.pt`` and ``provenance.json`` in this folder.

``benchmarks/pretrained.py`` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
PROVENANCE = "provenance.json"
NAMES = ("planar_obstacle", "halfcheetah")


@dataclass(frozen=True)
class Pretrained:
    """A trained policy, and how it was made."""

    name: str
    task: str
    command: str
    """The command that trained it."""
    seed: int
    """Seed of the training."""
    iteration: int
    """The last iteration of its training."""
    env_steps: int
    """Environment steps of its training."""
    date: str
    """Day of its training, ``YYYY-MM-DD``."""
    version: str
    """Version of this package."""
    commit: str
    """Git commit of this package."""
    episodes: int
    """Episodes without exploration in which the exported policy was evaluated."""
    return_mean: float
    """Mean of their returns."""
    return_std: float
    """Sample standard deviation of their returns."""
    behaviours: Mapping[str, int]
    """Episodes of each behaviour; empty for a task without several. They then begin at the task's fixed start."""

    @property
    def onnx(self) -> Path:
        """The exported policy."""
        return FOLDER / f"{self.name}.onnx"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint, released without what only a resume needs."""
        return FOLDER / f"{self.name}.pt"


def find_pretrained(name: str) -> Pretrained:
    """Return one of :data:`NAMES`."""
    return Pretrained(name=name, **json.loads((FOLDER / PROVENANCE).read_text(encoding="utf-8"))[name])
