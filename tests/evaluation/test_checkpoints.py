# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints are found by file, folder and pattern, and what is not there is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.evaluation.tiny_runs import TASK, copy_run
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.evaluation.identify import describe_mixtures, find_subjects
from trudi_rsl.evaluation.samplers import SamplerCfg, expand_samplers, supported_samplers


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


def test_a_group_may_be_named(runs: Path) -> None:
    assert [subject.label for subject in find_subjects(["eps 0.1=trudi/1", "ppo"])] == ["eps 0.1", "ppo"]
    shutil.copytree("trudi/1", "a=b")
    assert [subject.label for subject in find_subjects(["a=b"])] == ["trudi"]


def test_a_checkpoint_outside_of_a_run_tells_its_task_and_no_seed(runs: Path) -> None:
    for algo in ("trudi", "ppo"):
        shutil.copy(runs / algo / "1" / "model_1.pt", runs / f"{algo}.pt")
        assert found(f"{algo}.pt") == [(algo, TASK, None, f"{algo}.pt")]


def test_two_checkpoints_of_one_seed_do_not_count_as_two_runs(runs: Path) -> None:
    with pytest.raises(CheckpointError, match=r"both seed 1 of 'trudi' on InvertedPendulum-v5.*NAME=PATH"):
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
        (["trudi/1/params/*"], "matches 2 paths, of which none is a checkpoint or a run folder"),
        (["trudi/1/params/env.yaml"], "is not a checkpoint"),
    ],
)
def test_what_is_not_there_is_named(runs: Path, named: list[str], message: str) -> None:
    (runs / "empty").mkdir()
    with pytest.raises(CheckpointError, match=message):
        find_subjects(named)


def test_lists_of_options_expand_to_the_samplers_that_read_them() -> None:
    samplers = expand_samplers(["sde", "ode", "best_of_k"], [0.5, 1.0, 0.5], [4, 20], [None, "zeros"])
    names = ["SDE", "ODE c=0.5", "ODE c=0.5 from zeros", "ODE", "ODE from zeros", "best of 4", "best of 20"]
    assert str(expand_samplers(initial_latents=["random"])[0]) == "ODE from random starts"
    assert [str(sampler) for sampler in samplers] == names
    assert expand_samplers() == [SamplerCfg("ode")]


def test_a_policy_without_a_chain_keeps_its_samplers_and_the_others_are_named() -> None:
    wanted = expand_samplers(["sde", "ode", "best_of_k"], [0.5, 1.0])
    assert supported_samplers(wanted, "trudi") == (wanted, [])
    fit, reasons = supported_samplers(wanted, "ppo")
    assert [str(sampler) for sampler in fit] == ["SDE", "ODE"]
    assert [reason.partition(":")[0] for reason in reasons] == [
        "ppo has no sampler 'ODE c=0.5'",
        "ppo has no sampler 'best of 20'",
    ]
    with pytest.raises(ConfigError, match="ppo has no sampler 'best of 3': best_of_k needs"):
        supported_samplers(expand_samplers(["best_of_k"], num_candidates=[3]), "ppo")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"samplers": []}, "list of samplers is empty"),
        ({"score_scales": []}, "list of score scales is empty"),
        ({"samplers": ["odee"]}, "Unknown sampler option 'odee'. Did you mean 'ode'"),
        ({"score_scales": [0.0]}, "score_scale must be above 0"),
    ],
)
def test_impossible_lists_are_refused(lists: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand_samplers(**lists)
