# SPDX-License-Identifier: BSD-3-Clause
"""scripts/doctor.py, and what it reads from checkpoints and from runs that are not finished or not TruDi's."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.evaluation.tiny_runs import train_tiny, write_run
from tests.health.ill_runs import Trained, train
from tests.scripts.running import SCRIPTS
from trudi_rsl.health.checkpoints import examine_checkpoints
from trudi_rsl.health.checkup import examine_run
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

pytestmark = pytest.mark.slow


def doctor(*runs: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the exit code."""
    monkeypatch.setattr(sys, "argv", ["doctor.py", *map(str, runs)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPTS / "doctor.py"), run_name="__main__")
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_healthy_run_leaves_with_0_and_says_what_was_looked_at(
    healthy: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(healthy.folder, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"healthy: nothing found in {len(healthy.log)} iterations and 8 checkpoints.",
        "Looked at: skipped updates, faulty environments, clipped targets, dead critic, KL above eps, entropy target, "
        "saturated actions, normaliser drift, throughput, checkpoints.",
    ]


def test_an_ill_run_leaves_with_1_and_says_what_and_since_when_and_what_to_change(
    healthy: Trained,
    ill: Callable[[str], Trained],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert doctor(ill("clipped targets").folder, healthy.folder, monkeypatch=monkeypatch) == 1
    out = capsys.readouterr().out
    assert "clipped_targets: 1 found in 8 iterations and 2 checkpoints.\n- clipped targets, since iteration 0: " in out
    assert "range [-0.5, 0.5] and are clipped.\n  Widen algorithm.value_range" in out
    assert "\n\nhealthy: nothing found" in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "No run folder at "),
        ("empty", "holds no TensorBoard events"),
        ("begun", "begun has not logged a whole iteration yet"),
    ],
)
def test_what_is_no_run_leaves_with_2_and_one_line(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "begun", {})
    assert doctor(tmp_path / name, monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ") and message in line


@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_a_run_that_is_still_written_to_is_examined_as_far_as_it_is(
    kept: float, ill: Callable[[str], Trained], tmp_path: Path
) -> None:
    drifting = ill("normaliser drift")
    (events,) = drifting.folder.glob("events.out.tfevents.*")
    content = events.read_bytes()
    (tmp_path / events.name).write_bytes(content[: int(kept * len(content))])
    checkup = examine_run(tmp_path)
    assert 0.8 * kept * len(drifting.log) < checkup.num_iterations < len(drifting.log)
    assert [*checkup.findings] == ["normaliser drift"] * (checkup.num_iterations >= 30)


def test_damaged_checkpoints_are_named_with_the_newest_sound_one(healthy: Trained, tmp_path: Path) -> None:
    for file in healthy.folder.glob("model_*.pt"):
        shutil.copy(file, tmp_path)
    newest = tmp_path / "model_69.pt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    finding = examine_checkpoints(tmp_path).findings["damaged checkpoint"]
    assert finding.what == "Damaged or only half there: model_69.pt."
    assert "the newest sound one is model_60.pt" in finding.remedy
    assert finding.since == 69


def test_weights_that_are_not_finite_are_named(healthy: Trained, tmp_path: Path) -> None:
    for number in (50, 60):
        content = torch.load(healthy.folder / f"model_{number}.pt", weights_only=False)
        if number == 60:
            next(iter(content["critic_state_dict"].values())).view(-1)[0] = torch.nan
        torch.save(content, tmp_path / f"model_{number}.pt")
    findings = examine_checkpoints(tmp_path).findings
    assert [*findings] == ["non-finite weights"]
    assert findings["non-finite weights"].what == "Weights are NaN or infinite in model_60.pt."
    assert "the newest sound one is model_50.pt" in findings["non-finite weights"].remedy


def test_checkpoints_alone_show_a_drifting_observation(ill: Callable[[str], Trained], healthy: Trained) -> None:
    assert [*examine_checkpoints(ill("normaliser drift").folder).findings] == ["normaliser drift"]
    assert examine_checkpoints(healthy.folder).findings == {}


def test_a_file_of_another_program_is_told_and_no_illness(healthy: Trained, tmp_path: Path) -> None:
    shutil.copytree(healthy.folder, tmp_path / "run")
    torch.save([1, 2], tmp_path / "run" / "model_5.pt")
    checkup = examine_run(tmp_path / "run")
    assert checkup.findings == {}
    assert "Not read: model_5.pt. " in str(checkup) and "it holds a list" in str(checkup)


def test_settings_come_from_the_checkpoints_where_the_run_has_no_file_of_them(
    ill: Callable[[str], Trained], tmp_path: Path
) -> None:
    shutil.copytree(ill("KL above eps").folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "params")
    assert "KL above eps" in examine_run(tmp_path / "run").findings


def test_dime_is_examined_by_all_rules_but_that_of_the_trust_region(tmp_path: Path) -> None:
    run = train(tmp_path / "run", 2, constraint="none")
    assert examine_run(run.folder).not_logged == ["KL above eps"]


@pytest.mark.skipif(not PPO_MODELS, reason="this package's PPO configuration is that of RSL-RL 5")
def test_ppo_is_examined_by_the_rules_that_its_log_allows(tmp_path: Path) -> None:
    train_tiny("ppo", tmp_path / "run")
    checkup = examine_run(tmp_path / "run")
    assert checkup.findings == {}
    assert checkup.looked_at == ["throughput"]
    assert "Not logged so far, or by this algorithm or version: skipped updates, faulty envi" in str(checkup)
