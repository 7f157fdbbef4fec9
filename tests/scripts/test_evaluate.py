# SPDX-License-Identifier: BSD-3-Clause
"""scripts/evaluate.py from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.evaluation.tiny_runs import TASK, copy_run, train_tiny
from tests.scripts.running import ScriptHere, assert_pictures, table_rows

FEW = ("--episodes", "2", "env.max_episode_steps=4")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five TruDi runs and three of PPO, and one of each on another task."""
    root = tmp_path_factory.mktemp("project")
    for algo, seeds in {"trudi": range(1, 6), "ppo": range(1, 4)}.items():
        checkpoint = train_tiny(algo, root / "first" / algo)
        for seed in seeds:
            copy_run(checkpoint.parent, root / "runs" / algo / str(seed), seed)
        train_tiny(algo, root / "other" / algo, task="Pendulum-v1")
    return root


@pytest.fixture
def evaluate(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ScriptHere:
    return ScriptHere("evaluate.py", project, monkeypatch, capsys)


def test_runs_become_files_tables_and_pictures(evaluate: ScriptHere, project: Path) -> None:
    output = evaluate("runs/*/*", "--sampler", "sde", "ode", "--score_scale", "0.5", "1", "--output", "out", *FEW)
    groups = [("ppo", "SDE"), ("ppo", "ODE"), ("trudi", "SDE"), ("trudi", "ODE c=0.5"), ("trudi", "ODE")]
    printed, written = table_rows(output), (project / "out" / "results.md").read_text()
    for label, sampler in groups:
        assert any({label, sampler} <= set(row) for row in printed)
        assert f"| {TASK} | {label} | {sampler} |" in written
    assert "needs 5 seeds" in written
    assert "ppo has no sampler 'ODE c=0.5'" in output
    assert output.strip().splitlines()[-1] == "Results: out"

    stored = json.loads((project / "out" / "results.json").read_text())
    assert len(stored["runs"]) == 2 * 3 + 3 * 5
    assert {len(run["returns"]) for run in stored["runs"]} == {2}
    assert [group["seeds"] for group in stored["panels"][0]["iqm"]] == [3, 3, 5, 5, 5]
    assert stored["options"]["overrides"] == ["env.max_episode_steps=4"]
    assert stored["versions"]["torch"]
    with (project / "out" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(stored["runs"])
    assert {(row["label"], row["sampler"]) for row in rows} == set(groups)
    assert {float(row["length_mean"]) <= 4.0 for row in rows} == {True}
    assert "P(first > second)" in (project / "out" / "results.md").read_text()
    for name in ("intervals", "profiles", "improvement"):
        assert_pictures(project / "out" / name)


def test_a_second_time_nothing_is_run_and_the_numbers_are_the_same(evaluate: ScriptHere, project: Path) -> None:
    arguments = ("runs/trudi/1", "runs/ppo", "--seed", "5", *FEW)
    evaluate(*arguments, "--output", "one")
    cached = {path: path.stat().st_mtime_ns for path in project.glob("runs/**/evaluations/*")}
    evaluate(*arguments, "--output", "two")
    assert {path: path.stat().st_mtime_ns for path in project.glob("runs/**/evaluations/*")} == cached
    one, two = (json.loads((project / name / "results.json").read_text()) for name in ("one", "two"))
    assert (one["runs"], one["panels"]) == (two["runs"], two["panels"])


@pytest.mark.nightly
def test_several_tasks_are_aggregated_by_ranges_or_kept_apart(evaluate: ScriptHere, project: Path) -> None:
    both = ("runs/trudi/1", "other/trudi", *FEW)
    refused = evaluate.error(*both)
    assert f"These checkpoints are of 2 tasks ({TASK}, Pendulum-v1)" in refused
    assert f"--normalize {TASK}=low,high Pendulum-v1=low,high" in refused
    assert "Over all tasks" not in evaluate(*both, "--by-task", "--output", "apart")
    evaluate(*both, "--normalize", f"{TASK}=0,1000", "Pendulum-v1=-1600,0", "--output", "together")
    assert "| trudi | ODE |" in (project / "together" / "results.md").read_text().partition("Over all tasks")[2]
    (project / "ranges.yaml").write_text(f"{TASK}: [0, 1000]\nPendulum-v1: [-1600, 0]\n")
    evaluate(*both, "--reference", "ranges.yaml", "--output", "by_file")
    panels = [json.loads((project / name / "results.json").read_text())["panels"] for name in ("together", "by_file")]
    assert panels[0] == panels[1]


def test_results_that_exist_are_kept(evaluate: ScriptHere, project: Path) -> None:
    (project / "mine").mkdir()
    (project / "mine" / "results.md").write_text("mine")
    assert "mine/results.md exists and was kept" in evaluate.error("runs/ppo", "--output", "mine", *FEW)
    assert (project / "mine" / "results.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "No checkpoint, run folder or pattern was given"),
        (("runs/ppo", "--sampler"), "The list of samplers is empty"),
        (("runs/ppo", "--score_scale", "0.5"), "ppo has no sampler 'ODE c=0.5'"),
        (("runs/ppo", "--metric", "success", *FEW), f"{TASK} reports no success"),
        (("runs/ppo", "--reference", "none.yaml"), "No such file or directory: 'none.yaml'"),
        (("runs/ppo", "env.num_env=3"), "Did you mean 'num_envs'"),
        (("runs/ppo", "--device", "abacus"), "'abacus'"),
    ],
)
def test_mistakes_are_reported_in_one_line(evaluate: ScriptHere, arguments: tuple[str, ...], message: str) -> None:
    assert message in evaluate.error(*arguments)
