# SPDX-License-Identifier: BSD-3-Clause
"""Real checkpoints and a real run folder to turn into attacks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.hostile import MODULE
from tests.deploy.drift import DriftEnv, make_trained, ppo_cfg
from tests.evaluation.tiny_runs import train_tiny
from trudi_rsl.runners import OnPolicyRunner


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of TruDi."""
    path = tmp_path_factory.mktemp("trudi") / "model_2.pt"
    make_trained(OnPolicyRunner).save(str(path))
    return path


@pytest.fixture(scope="session")
def ppo_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of PPO that names its policy."""
    path = tmp_path_factory.mktemp("ppo") / "model_0.pt"
    OnPolicyRunner(DriftEnv(), ppo_cfg(), log_dir=None, device="cpu").save(str(path))
    return path


@pytest.fixture(scope="session")
def ppo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of PPO."""
    return train_tiny("ppo", tmp_path_factory.mktemp("runs") / "ppo").parent


@pytest.fixture(scope="session")
def trudi_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of TruDi."""
    return train_tiny("trudi", tmp_path_factory.mktemp("runs") / "trudi").parent


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that importing ``hostile_package``, whose class is ``Model``, or unpickling a ``Payload`` makes."""
    folder, marker = tmp_path / "importable", tmp_path / "marker"
    folder.mkdir()
    text = f"import os\nos.mkdir({str(marker)!r})\nclass Model:\n    def __init__(self, *_, **__): pass\n"
    (folder / f"{MODULE}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    yield marker
    sys.modules.pop(MODULE, None)
