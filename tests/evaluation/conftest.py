# SPDX-License-Identifier: BSD-3-Clause
"""Tiny trainings that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.tiny_runs import train_tiny


@pytest.fixture(scope="session")
def trudi_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny("trudi", tmp_path_factory.mktemp("runs") / "trudi")


@pytest.fixture(scope="session")
def reppo_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny("reppo", tmp_path_factory.mktemp("runs") / "reppo")


@pytest.fixture(scope="session")
def ppo_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny("ppo", tmp_path_factory.mktemp("runs") / "ppo")
