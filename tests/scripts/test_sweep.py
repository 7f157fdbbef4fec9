# SPDX-License-Identifier: BSD-3-Clause
"""scripts/sweep.py from the command line, with real training."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import pytest
import yaml
from filelock import FileLock

from scripts.sweep import main
from trudi_rsl import packages
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.commands.job import train
from trudi_rsl.evaluation.identify import read_subject
from trudi_rsl.evaluation.measurement import Evaluation, EvaluationCfg
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.experiments.experiment import load_experiment, plan
from trudi_rsl.experiments.job import LOCK_FILE, Job, carry_out
from trudi_rsl.experiments.sweep import missing
from trudi_rsl.hosts.registry import SIMULATION
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PPO_MODELS, reason="the settings of PPO are written for RSL-RL 5"),
]

TASK = "tests.hosts.gymnasium_tasks:trudi-tests/Clock-v0"
EXPERIMENT = {
    "description": "Clocks compared.",
    "algorithms": ["ppo"],
    "tasks": [TASK],
    "seeds": [1, 2],
    "overrides": [
        *("env.num_envs=2", "agent.num_steps_per_env=16", "agent.max_iterations=2", "env.env_kwargs.length=10"),
        *("agent.algorithm.num_mini_batches=2", "agent.actor.hidden_dims=[8]", "agent.critic.hidden_dims=[8]"),
    ],
    "variants": {"slow": ["agent.algorithm.gamma=0.5"], "fast": []},
    "evaluation": {"samplers": ["sde", "ode", "best_of_k"], "episodes": 2},
}
BREAKING = EXPERIMENT | {"seeds": [1], "variants": {"good": [], "bad": ["env.env_kwargs.nan_at=9"]}}


@pytest.fixture(autouse=True)
def _processes_find_the_tests_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


def planned(folder: Path, content: dict[str, Any], *overrides: str) -> list[Job]:
    """Write the experiment into the folder, which is the working directory, and return its runs."""
    (folder / "clocks.yaml").write_text(yaml.safe_dump(content))
    return plan(load_experiment("clocks.yaml"), overrides)


def carry_out_here(jobs: list[Job]) -> list[int]:
    """Do what workers do, without the seconds that a process takes to import torch."""
    for job in jobs:
        job.write()
    return [carry_out(job, train) for job in jobs]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every run of the experiment is finished."""
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder):
        assert carry_out_here(planned(folder, EXPERIMENT)) == [0] * 4
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to work in."""
    folder = Path(shutil.copytree(finished, tmp_path / "project"))
    monkeypatch.chdir(folder)
    return folder


def runs_of(project: Path) -> Path:
    return project / "logs" / "rsl_rl" / "clocks"


def attempts(project: Path) -> set[Path]:
    return {path.parent for path in runs_of(project).glob("*/*/model_1.pt")}


def files(project: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in runs_of(project).glob("*/**/*") if path.is_file()}


def test_every_run_is_trained_evaluated_and_reported_once(project: Path) -> None:
    names = {path.parent.name.partition("Clock-v0_")[2] for path in attempts(project)}
    assert names == {f"ppo_{variant}_seed{seed}" for variant in ("slow", "fast") for seed in (1, 2)}
    before = files(project)
    assert main(["clocks.yaml"]) == 0
    assert files(project) == before
    report = (runs_of(project) / "report.md").read_text()
    assert "Clocks compared." in report and "4 of 4 runs finished" in report
    for variant in ("slow", "fast"):
        for sampler in ("SDE", "ODE"):
            assert f"| {TASK} | {variant} | {sampler} |" in report
    assert "ppo has no sampler 'best of 20'" in report
    assert report.count("trudi train --task") == 4
    assert "4 runs: python 3" in report and "rsl-rl-lib 5" in report
    for name in ("curves_steps", "intervals", "profiles", "improvement"):
        assert f"({name}.png)" in report
        picture = imageio.imread(runs_of(project) / f"{name}.png")
        assert picture.min() < 128 < picture.max()
        assert (runs_of(project) / f"{name}.svg").is_file()
    assert len(json.loads((runs_of(project) / "results.json").read_text())["runs"]) == 8


def test_an_evaluation_of_a_run_is_that_of_the_evaluation_script(project: Path) -> None:
    (run,) = {path for path in attempts(project) if "slow_seed1" in path.parent.name}
    subject = read_subject(run / "model_1.pt")
    alone = Evaluation(subject, SamplerCfg("sde"), EvaluationCfg(episodes=2), SIMULATION)
    stored = alone.cached()
    assert stored is not None
    assert alone.run().returns == stored.returns


def test_runs_with_other_settings_are_trained_beside_the_old_ones(project: Path) -> None:
    before = files(project)
    changed = planned(project, EXPERIMENT, "agent.algorithm.learning_rate=0.002")
    assert missing(changed) == changed
    assert carry_out_here(changed[:1]) == [0]
    assert missing(changed) == changed[1:]
    assert before.keys() < files(project).keys()
    assert missing(planned(project, EXPERIMENT)) == []


def test_another_sampler_is_evaluated_without_training(project: Path) -> None:
    before = attempts(project)
    more = EXPERIMENT | {"seeds": [1], "evaluation": {"samplers": ["sde"], "episodes": 3}}
    jobs = planned(project, more)
    assert missing(jobs) == jobs
    assert carry_out_here(jobs) == [0, 0]
    assert attempts(project) == before
    assert main(["clocks.yaml"]) == 0
    runs = json.loads((runs_of(project) / "results.json").read_text())["runs"]
    assert [len(run["returns"]) for run in runs] == [3, 3]


def test_a_dry_run_lists_the_commands_and_runs_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(project)
    command = ["clocks.yaml", "--seeds", "2", "3", "--dry_run"]
    assert main(command) == 0
    summary = capsys.readouterr().out
    assert summary.startswith("clocks: 4 runs in ") and ": 2 to run, 2 finished\n" in summary
    assert "2 of them estimated from finished runs" in summary and "trudi train" not in summary
    assert main([*command, "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert [line.partition("]")[0] for line in lines] == ["[finished"] * 2 + ["[to run"] * 2
    assert "--seed 3 --experiment_name clocks/" in lines[3]
    assert files(project) == before


def test_a_failing_run_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = {job.variant: job for job in planned(tmp_path, BREAKING)}
    assert carry_out_here([jobs["good"]]) == [0]
    assert main(["clocks.yaml"]) == 1
    error = capsys.readouterr().err
    assert "Clock-v0_ppo_bad_seed1: exit status 1, last line: Error: " in error
    assert "is nan in environment 0" in error
    report = (runs_of(tmp_path) / "report.md").read_text()
    assert "1 of 2 runs finished" in report
    assert "broken: tests.hosts.gymnasium_tasks-trudi-tests-Clock-v0_ppo_bad_seed1" in report
    assert f"| {TASK} | good | SDE |" in report
    with FileLock(jobs["bad"].folder / LOCK_FILE):
        assert main(["clocks.yaml"]) == 1
    printed = capsys.readouterr()
    assert "another process is writing to" in printed.err
    assert "1 to run, 1 finished\nExpected hours of training:\n  ppo: 1 runs" in printed.out


def test_an_interrupted_sweep_ends_its_runs(tmp_path: Path) -> None:
    long = EXPERIMENT | {"seeds": [1], "variants": {"long": ["agent.max_iterations=100000"]}}
    (tmp_path / "clocks.yaml").write_text(yaml.safe_dump(long))
    command = [sys.executable, "-m", "trudi_rsl", "sweep", "clocks.yaml"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.time() + 300.0
    while not list(runs_of(tmp_path).glob("*/*/model_0.pt")):
        assert time.time() < deadline, process.poll()
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "The same command continues" in error
    (run,) = runs_of(tmp_path).glob("*_ppo_*")
    (latest,) = run.glob("*/latest.pt")
    assert read_checkpoint(latest)["iter"] >= 1
    with FileLock(run / LOCK_FILE, timeout=0):  # no process holds it any more
        pass


@pytest.mark.nightly
def test_missing_evaluations_are_run_without_training(project: Path) -> None:
    pytest.importorskip("submitit")
    before = attempts(project)
    for path in runs_of(project).glob("*seed2/*/evaluations/*"):
        path.unlink()
    assert len(missing(planned(project, EXPERIMENT))) == 2
    assert main(["clocks.yaml", "--workers", "2"]) == 0
    assert missing(planned(project, EXPERIMENT)) == []
    assert attempts(project) == before
    assert "4 of 4 runs finished" in (runs_of(project) / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such"], "No experiment 'no_such'"),
        (["x.yaml", "agent.algorithm.gama=1"], "Did you mean 'gamma'"),
        (["x.yaml", "--workers", "0"], "workers must be at least 1, got 0"),
        (["x.yaml", "--launcher_options", "timeout_min=3"], "timeout_min"),
        (["x.yaml", "--launcher_options", "timeout_min"], "write KEY=VALUE"),
        (["empty.yaml"], "has no runs. Fill in its tasks and seeds, or add --tasks --seeds."),
    ],
)
def test_mistakes_are_reported_in_one_line_before_anything_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(yaml.safe_dump({"tasks": ["Pendulum-v1"], "seeds": [1]}))
    Path("empty.yaml").write_text("description: nothing\n")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(Path().glob("logs/**/*.pt"))


def test_without_submitit_the_error_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", None)
    Path("x.yaml").write_text(yaml.safe_dump({"tasks": ["Pendulum-v1"], "seeds": [1]}))
    assert main(["x.yaml"]) == 1
    error = capsys.readouterr().err
    assert "A sweep needs submitit, not installed" in error and packages.how_to_install() in error
    assert not Path("logs").exists()
