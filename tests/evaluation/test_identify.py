# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints are found by file, folder and pattern, identified, and played with the settings of their run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.evaluation.tiny_runs import TASK, copy_run
from trudi_rsl.config import compose
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.identify import describe_mixtures, find_subjects, identify, load_run_settings


@pytest.fixture
def runs(trudi_checkpoint: Path, ppo_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with ``trudi/1``, ``trudi/2`` and ``ppo/1``."""
    for name, checkpoint in {"trudi": trudi_checkpoint, "ppo": ppo_checkpoint}.items():
        for seed in (1, 2) if name == "trudi" else (1,):
            copy_run(checkpoint.parent, tmp_path / name / str(seed), seed)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*named: str) -> list[tuple[str, str, int | None, str]]:
    return [(s.label, s.task, s.seed, s.checkpoint.name) for s in find_subjects(named)]


def test_a_file_a_run_a_folder_of_runs_and_a_pattern_name_checkpoints(runs: Path) -> None:
    first, second = ("trudi", TASK, 1, "model_1.pt"), ("trudi", TASK, 2, "model_1.pt")
    assert found("trudi/1/model_0.pt") == [("trudi", TASK, 1, "model_0.pt")]
    assert found("trudi/1") == [first]
    assert found("trudi") == found("trudi/*") == found("tr*/[12]") == [first, second]
    assert found("**/model_1.pt", "ppo/1") == [("ppo", TASK, 1, "model_1.pt"), first, second]
    assert found("trudi/2", "trudi/*", str(runs / "trudi")) == [second, first]


def test_a_label_can_precede_the_path(runs: Path) -> None:
    assert [subject.label for subject in find_subjects(["eps 0.1=trudi/1", "ppo"])] == ["eps 0.1", "ppo"]
    shutil.copytree("trudi/1", "a=b")
    assert [subject.label for subject in find_subjects(["a=b"])] == ["trudi"]


def test_a_checkpoint_outside_of_a_run_has_the_task_and_seed_that_it_carries(runs: Path) -> None:
    for algo in ("trudi", "ppo"):
        shutil.copy(runs / algo / "1" / "model_1.pt", runs / f"{algo}.pt")
        assert found(f"{algo}.pt") == [(algo, TASK, 42, f"{algo}.pt")]


def test_two_checkpoints_of_one_seed_do_not_count_as_two_runs(runs: Path) -> None:
    with pytest.raises(CheckpointError, match=r"2 of .* trudi on InvertedPendulum-v5 are of seed 1.* first=trudi/1/"):
        find_subjects(["trudi/1/model_0.pt", "trudi/1/model_1.pt"])
    assert len(find_subjects(["early=trudi/1/model_0.pt", "late=trudi/1/model_1.pt"])) == 2


def test_a_group_of_runs_with_different_settings_is_named(runs: Path) -> None:
    assert describe_mixtures(find_subjects(["trudi", "ppo"])) == []
    agent = runs / "trudi" / "2" / "params" / "agent.yaml"
    agent.write_text(agent.read_text().replace("kl_bound: 0.1", "kl_bound: 0.4").replace("device: cpu", "device: x"))
    (sentence,) = describe_mixtures(find_subjects(["trudi", "ppo"]))
    assert f"trudi on {TASK} mixes runs of different settings: agent.algorithm.kl_bound (0.1, 0.4)." in sentence
    assert describe_mixtures(find_subjects(["a=trudi/1", "b=trudi/2"])) == []


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([], "No checkpoint, run folder or pattern was given"),
        (["trudy/1"], r"Nothing at trudy/1\. In this folder there is no 'trudy'\. Did you mean 'trudi'"),
        (["trudi/1/model_2.pt"], r"In trudi/1 there is no 'model_2.pt'\. Did you mean 'model_1.pt'"),
        (["empty"], r"No checkpoint \(model_\*.pt\) in empty"),
        (["trudi/[89]"], r"The pattern 'trudi/\[89\]' matches nothing"),
        (["trudi/1/params/*"], r"No checkpoint \(model_\*.pt\) in trudi/1/params/\*"),
        (["trudi/1/params/env.yaml"], "is not a checkpoint"),
    ],
)
def test_an_argument_that_names_no_checkpoint_is_refused(runs: Path, named: list[str], message: str) -> None:
    (runs / "empty").mkdir()
    with pytest.raises(CheckpointError, match=message):
        find_subjects(named)


def test_the_algorithm_of_a_checkpoint_is_identified_and_another_task_or_algorithm_or_content_refused(
    trudi_checkpoint: Path, reppo_checkpoint: Path, ppo_checkpoint: Path, tmp_path: Path
) -> None:
    assert [identify(path, TASK) for path in (trudi_checkpoint, reppo_checkpoint)] == ["trudi", "reppo"]
    for path, algorithm in ((reppo_checkpoint, "reppo"), (ppo_checkpoint, "ppo")):
        with pytest.raises(CheckpointError, match=rf"{algorithm}, not of trudi\. Use --algo {algorithm}"):
            identify(path, TASK, "trudi")
    for path in (trudi_checkpoint, ppo_checkpoint):
        with pytest.raises(CheckpointError, match=r"trained on task 'InvertedPendulum-v5', not on 'Hopper-v5'"):
            identify(path, "Hopper-v5")
    # versions and play variants of a task count as the same
    for variant in ("InvertedPendulum-v4", "InvertedPendulum-Play-v5"):
        assert identify(trudi_checkpoint, variant) == "trudi"
        assert identify(ppo_checkpoint, variant) == "ppo"
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weights": 1}, tmp_path / "other.pt")
    for name in ("text.pt", "other.pt"):
        with pytest.raises(CheckpointError, match=f"{name} is not a checkpoint"):
            identify(tmp_path / name, TASK)


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
