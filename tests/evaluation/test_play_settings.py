# SPDX-License-Identifier: BSD-3-Clause
"""A checkpoint is played with the load_run_settings of its run, and never silently with others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.evaluation.tiny_runs import TASK
from trudi_rsl.config import compose
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.identify import load_run_settings


def test_only_a_trudi_checkpoint_without_settings_gets_the_preset(
    trudi_checkpoint: Path, ppo_checkpoint: Path, tmp_path: Path
) -> None:
    assert load_run_settings(trudi_checkpoint, TASK, "trudi").agent.algorithm.num_denoise_steps == 3
    alone = Path(shutil.copy(trudi_checkpoint, tmp_path))
    assert load_run_settings(alone, TASK, "trudi") == compose(TASK, "trudi")
    with pytest.raises(CheckpointError, match="PPO policy can only be rebuilt"):
        load_run_settings(Path(shutil.copy(ppo_checkpoint, tmp_path)), TASK, "ppo")


def test_settings_that_another_program_wrote_are_not_silently_replaced(trudi_checkpoint: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trudi_checkpoint.parent, tmp_path / "run"))
    (run / "params" / "env.yaml").write_text("scene: !!python/object:some.Class {}")
    with pytest.raises(CheckpointError, match=r"params/env\.yaml was not written by .* Copy the checkpoint elsewhere"):
        load_run_settings(run / trudi_checkpoint.name, TASK, "trudi")
