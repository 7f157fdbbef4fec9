# SPDX-License-Identifier: BSD-3-Clause
"""The paper's 73 tasks: each has a host, the paper's settings and budget, and an experiment that lists it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from scripts.sweep import main
from trudi_rsl.config.presets import preset_of
from trudi_rsl.experiments.experiment import load_experiment, plan
from trudi_rsl.experiments.hours import env_steps
from trudi_rsl.hosts.registry import find_host
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

pytestmark = pytest.mark.skipif(not PPO_MODELS, reason="the settings of PPO are written for RSL-RL 5")

ALGORITHMS = ["trudi", "reppo", "dime", "ppo", "spo", "dppo", "fpo"]
EXPERIMENTS = {
    "paper_dmc": (20, "playground", 50e6, {"dmc"}),
    "paper_playground_humanoids": (4, "playground", 50e6, {"playground_humanoids"}),
    "paper_maniskill": (13, "maniskill", 50e6, {"maniskill3"}),
    "paper_humanoidbench": (
        *(30, "humanoidbench", 50e6),
        {"humanoidbench", "humanoidbench_reach", "humanoidbench_truck", "humanoidbench_package"},
    ),
    "paper_isaaclab": (6, "isaaclab", 300e6, {"isaaclab_locomotion", "isaaclab_in_hand"}),
}
VALUE_RANGES = {
    "CheetahRun": [0.0, 150.0],
    "T1JoystickRoughTerrain": [-10.0, 10.0],
    "StackCube-v1": [-15.0, 15.0],
    "h1hand-walk-v0": [-250.0, 250.0],
    "h1hand-basketball-v0": [-2000.0, 2000.0],
    "h1hand-maze-v0": [-1000.0, 1000.0],
    "h1hand-package-v0": [-10000.0, 10000.0],
    "Isaac-Velocity-Rough-H1": [-10.0, 10.0],
    "Isaac-Reorient-Cube-Shadow-Direct": [-500.0, 500.0],
}


def test_all_73_tasks_are_listed_once() -> None:
    tasks = [task for name in EXPERIMENTS for task in load_experiment(name).tasks]
    assert len(tasks) == len(set(tasks)) == sum(number for number, *_ in EXPERIMENTS.values()) == 73


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.nightly if name in ("paper_humanoidbench", "paper_maniskill") else ())
        for name in EXPERIMENTS
    ],
)
def test_an_experiment_has_the_papers_tasks_algorithms_seeds_budgets_and_presets(name: str) -> None:
    number, host, budget, presets = EXPERIMENTS[name]
    experiment = load_experiment(name)
    assert (len(experiment.tasks), experiment.algorithms, len(experiment.seeds)) == (number, ALGORITHMS, 10)
    assert {find_host(task).name for task in experiment.tasks} == {host}
    assert {preset_of(task, "trudi", host) for task in experiment.tasks} == presets
    experiment.seeds = [1]
    # all algorithms on one task of each preset, TruDi on all
    first = {preset_of(task, "trudi", host): task for task in reversed(experiment.tasks)}
    every_task, every_algorithm = (copy.copy(experiment) for _ in range(2))
    every_task.algorithms, every_algorithm.tasks = ["trudi"], list(first.values())
    for job in (*plan(every_task), *plan(every_algorithm)):
        steps = env_steps(job)
        assert steps is not None and budget <= steps < 1.01 * budget, job.name
        settings = job.settings if host != "isaaclab" else job.settings["preset"]
        if job.algorithm in ("trudi", "dime", "reppo") and job.task in VALUE_RANGES:
            assert settings["agent"]["algorithm"]["value_range"] == VALUE_RANGES[job.task]


def test_a_dry_run_lists_all_runs_and_their_hours_where_the_host_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["paper_isaaclab", "--dry_run", "--list", "--seeds", "1", "--algorithms", "trudi"]) == 0
    output = capsys.readouterr().out
    assert output.count("[to run] trudi train --task Isaac-") == 6
    assert "trudi: 6 runs, hours unknown" in output
    assert "Not here: Isaac Lab is not installed" in output
    assert not Path("logs").exists()


def test_the_small_experiment_is_within_reach_of_a_cpu() -> None:
    jobs = plan(load_experiment("paper_small"))
    assert {find_host(job.task).name for job in jobs} == {"playground", "maniskill", "humanoidbench"}
    assert {env_steps(job) for job in jobs} == {307_200}
    assert {job.settings["agent"]["device"] for job in jobs} == {"cpu"}
