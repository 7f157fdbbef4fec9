# SPDX-License-Identifier: BSD-3-Clause
"""Tiny trainings that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.evaluation.tiny_runs import train_tiny


def _checkpoint_of(algorithm: str) -> Callable[..., Path]:
    @pytest.fixture(scope="session")
    def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
        return train_tiny(algorithm, tmp_path_factory.mktemp("runs") / algorithm)

    return checkpoint


trudi_checkpoint, reppo_checkpoint, ppo_checkpoint = map(_checkpoint_of, ("trudi", "reppo", "ppo"))
