# SPDX-License-Identifier: BSD-3-Clause
"""scripts/doctor.py, and what it reads from checkpoints and from runs that are not finished or not TruDi's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from scripts.doctor import main
from tests.evaluation.tiny_runs import train_tiny, write_run
from tests.health.unhealthy_runs import Trained, Unhealthy, train
from trudi_rsl.health import RULES
from trudi_rsl.health.checkup import examine_checkpoints, examine_run
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

pytestmark = pytest.mark.slow


def test_a_healthy_run_exits_with_0_and_lists_what_was_judged(
    healthy: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(healthy.folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"healthy: nothing found in {len(healthy.log)} iterations and 8 checkpoints.",
        f"Judged: {', '.join(rule.name for rule in RULES)}, checkpoints.",
    ]


def test_an_unhealthy_run_exits_with_1_and_names_the_finding_its_start_and_its_remedy(
    healthy: Trained, unhealthy: Unhealthy, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(unhealthy("clipped targets").folder), str(healthy.folder)]) == 1
    out = capsys.readouterr().out
    assert "clipped_targets: 1 found in 8 iterations and 2 checkpoints.\n- clipped targets, since iteration 0: " in out
    assert "range [-0.5, 0.5] and are clipped.\n  Widen agent.algorithm.value_range" in out
    assert "\n\nhealthy: nothing found" in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "Nothing at "),
        ("empty", "No log (events.out.tfevents"),
        ("begun", "begun has not logged a whole iteration yet"),
    ],
)
def test_a_folder_that_is_not_a_run_exits_with_2_and_one_line(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "begun", {})
    assert main([str(tmp_path / name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ") and message in line


@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_a_partly_written_log_is_examined_as_far_as_it_goes(kept: float, unhealthy: Unhealthy, tmp_path: Path) -> None:
    drifting = unhealthy("normaliser drift")
    (events,) = drifting.folder.glob("events.out.tfevents.*")
    content = events.read_bytes()
    (tmp_path / events.name).write_bytes(content[: int(kept * len(content))])
    checkup = examine_run(tmp_path)
    assert 0.8 * kept * len(drifting.log) < checkup.num_iterations < len(drifting.log)
    assert [*checkup.findings] == ["normaliser drift"] * (checkup.num_iterations >= 30)


def test_damaged_and_non_finite_checkpoints_are_named_with_the_newest_usable_one(
    healthy: Trained, tmp_path: Path
) -> None:
    for number in (50, 60, 69):
        shutil.copy(healthy.folder / f"model_{number}.pt", tmp_path)
    not_finite, damaged = tmp_path / "model_60.pt", tmp_path / "model_69.pt"
    content = torch.load(not_finite, weights_only=False)
    next(iter(content["critic_state_dict"].values())).view(-1)[0] = torch.nan
    torch.save(content, not_finite)
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    findings = examine_checkpoints(tmp_path).findings
    assert {name: (finding.what.split()[-1], finding.since) for name, finding in findings.items()} == {
        "damaged checkpoint": ("model_69.pt.", 69),
        "non-finite weights": ("model_60.pt.", 60),
    }
    assert all("model_50.pt" in finding.remedy for finding in findings.values())


def test_checkpoints_alone_reveal_a_drifting_observation(unhealthy: Unhealthy, healthy: Trained) -> None:
    assert [*examine_checkpoints(unhealthy("normaliser drift").folder).findings] == ["normaliser drift"]
    assert examine_checkpoints(healthy.folder).findings == {}


def test_a_file_of_another_program_is_listed_and_violates_nothing(healthy: Trained, tmp_path: Path) -> None:
    shutil.copytree(healthy.folder, tmp_path / "run")
    torch.save([1, 2], tmp_path / "run" / "model_5.pt")
    checkup = examine_run(tmp_path / "run")
    assert checkup.findings == {}
    assert [*checkup.not_read] == ["model_5.pt"] and checkup.not_read["model_5.pt"] in str(checkup)


def test_settings_are_read_from_checkpoints_if_the_run_has_no_params(unhealthy: Unhealthy, tmp_path: Path) -> None:
    shutil.copytree(unhealthy("KL above eps").folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "params")
    assert "KL above eps" in examine_run(tmp_path / "run").findings


def test_dime_is_judged_by_all_rules_but_that_of_the_trust_region(tmp_path: Path) -> None:
    run = train(tmp_path / "run", 2, constraint="none")
    assert examine_run(run.folder).not_logged == ["KL above eps", "KL far above eps"]


@pytest.mark.skipif(not PPO_MODELS, reason="this package's PPO configuration is that of RSL-RL 5")
def test_ppo_is_judged_by_the_rules_that_its_log_allows(tmp_path: Path) -> None:
    train_tiny("ppo", tmp_path / "run")
    checkup = examine_run(tmp_path / "run")
    assert checkup.findings == {}
    assert checkup.judged == ["checkpoints"]
    assert [*checkup.too_little_data] == ["throughput"]
    assert checkup.not_logged == [rule.name for rule in RULES if rule.name != "throughput"]


def test_rules_without_enough_data_are_listed_with_the_data_they_need(tmp_path: Path) -> None:
    checkup = examine_run(train(tmp_path / "run", 4).folder)
    assert checkup.judged == ["skipped updates", "faulty environments", "KL far above eps", "checkpoints"]
    # 4.6 / (learning rate 0.003 * 2 epochs * 4 minibatches) = 192
    needed = {"clipped targets": 5, "dead critic": 20, "KL above eps": 192, "entropy target": 192}
    needed |= {"saturated actions": 20, "normaliser drift": 30, "throughput": 45}
    assert checkup.too_little_data == {rule: f"4 of {iterations} iterations" for rule, iterations in needed.items()}
    assert "dead critic (4 of 20 iterations)" in str(checkup)
    assert str(checkup).startswith("run: nothing found so far; 7 of 11 checks need more than 4 iterations and ")


def test_rules_whose_settings_are_unknown_and_missing_checkpoints_are_listed(healthy: Trained, tmp_path: Path) -> None:
    (events,) = healthy.folder.glob("events.out.tfevents.*")
    shutil.copy(events, tmp_path)
    missing = examine_run(tmp_path).too_little_data
    assert [*missing] == ["dead critic", "KL above eps", "KL far above eps", "checkpoints"]
    assert "num_bins" in missing["dead critic"] and "kl_bound" in missing["KL above eps"]
