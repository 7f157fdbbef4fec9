# SPDX-License-Identifier: BSD-3-Clause
"""A checkpoint, a run folder, an experiment folder and a pattern name runs alike, for every command that reads them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from trudi_rsl.config.run_folder import (
    EVENTS,
    create_run_folder,
    find_checkpoint,
    find_checkpoints,
    find_runs,
    one_checkpoint,
    select_checkpoint,
)
from trudi_rsl.config.schema import ANY_CHECKPOINT
from trudi_rsl.errors import CheckpointError, ConfigError

ODD_NAME = "2026-01-03_00-00-00_kl=0.1+eps(2)"
NAMES = ("2026-01-01_00-00-00", "2026-01-02_00-00-00", ODD_NAME)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """An experiment of three runs, each with two checkpoints, a log, and an exported policy below it."""
    folder = tmp_path / "hopper"
    for name in NAMES:
        (folder / name / "exported").mkdir(parents=True)
        for iteration in (9, 10):
            torch.save({"iter": iteration}, folder / name / f"model_{iteration}.pt")
        (folder / name / "events.out.tfevents.1").touch()
        (folder / name / "exported" / "policy.pt").touch()
    return folder


def test_the_same_argument_names_runs_their_logs_and_their_newest_checkpoints(experiment: Path) -> None:
    all_runs = [experiment / name for name in NAMES]
    first = all_runs[0]
    for named, runs in {
        first: [first],
        first / "model_9.pt": [first],
        experiment: all_runs,
        experiment.parent: all_runs,
        experiment / "*": all_runs,
        experiment / "2026-01-0[12]*": all_runs[:2],
        experiment / "**": all_runs,
    }.items():
        assert find_runs(named) == find_runs(named, EVENTS) == runs, named
    assert find_checkpoints(first / "model_9.pt") == [first / "model_9.pt"]
    assert find_checkpoints(experiment) == [run / "model_10.pt" for run in all_runs]
    assert find_checkpoints(experiment / "*" / "model_9.pt") == [run / "model_9.pt" for run in all_runs]


def test_of_several_runs_a_command_that_takes_one_policy_uses_the_newest_and_says_so(
    experiment: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("trudi_rsl"), "propagate", True)
    assert one_checkpoint(experiment / NAMES[0]) == experiment / NAMES[0] / "model_10.pt"
    assert not caplog.messages
    assert one_checkpoint(experiment) == experiment / ODD_NAME / "model_10.pt"
    assert "3 runs" in caplog.text and ODD_NAME in caplog.text


def test_a_run_is_loaded_by_its_name_as_printed_or_by_a_regular_expression(experiment: Path) -> None:
    assert find_checkpoint(experiment, ODD_NAME).parent.name == ODD_NAME
    assert find_checkpoint(experiment, ".*-02_").parent.name == NAMES[1]
    printed = str(experiment / ODD_NAME)
    assert select_checkpoint(experiment.parent / "other", printed, ANY_CHECKPOINT).parent.name == ODD_NAME
    with pytest.raises(CheckpointError, match=f"matches '2026-02'.*{NAMES[1]}"):
        find_checkpoint(experiment, "2026-02")


def test_where_nothing_was_trained_yet_the_message_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"No run yet in .*hopper.*trudi train"):
        find_checkpoint(tmp_path / "hopper")
    (tmp_path / "hopper").mkdir()
    with pytest.raises(CheckpointError, match=r"No checkpoint \(model_\*.pt\) in .*hopper or below"):
        find_runs(tmp_path / "hopper")
    with pytest.raises(CheckpointError, match=r"there is no 'hoper'\. Did you mean 'hopper'"):
        find_runs(tmp_path / "hoper", EVENTS)


def test_a_folder_that_cannot_be_made_is_named_in_one_line_without_a_chain_of_tracebacks(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    message = r"Cannot make a run folder in .*hopper.*start in one"
    with pytest.raises(ConfigError, match=message) as raised, create_run_folder(tmp_path / "logs" / "hopper"):
        pass
    assert raised.value.__cause__ is None and raised.value.__suppress_context__
    assert "\n" not in str(raised.value)
