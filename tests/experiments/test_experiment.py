# SPDX-License-Identifier: BSD-3-Clause
"""Experiment files are read strictly, and become runs that are all checked before one is started."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from trudi_rsl.config import compose
from trudi_rsl.config.presets import available
from trudi_rsl.errors import ConfigError
from trudi_rsl.experiments.experiment import from_mapping, load_experiment, plan, try_tasks
from trudi_rsl.experiments.hours import describe, env_steps, expectations
from trudi_rsl.experiments.job import RECORD_FILE, Job, write_json
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

pytestmark = pytest.mark.skipif(not PPO_MODELS, reason="the settings of PPO are written for RSL-RL 5")

TASK = "Pendulum-v1"
BASE = {"name": "x", "algorithms": ["trudi", "ppo"], "tasks": [TASK], "seeds": [1, 2]}


def planned(content: dict[str, Any], overrides: tuple[str, ...] = ()) -> list[Job]:
    jobs = plan(from_mapping(BASE | content, "x.yaml"), overrides)
    try_tasks(jobs)
    return jobs


def names(jobs: list[Job]) -> list[tuple[str, str, int]]:
    return [(job.algorithm, job.variant, job.seed) for job in jobs]


@cache
def plan_of(name: str) -> list[Job]:
    """Plan an experiment of the package once for all tests that read it."""
    return plan(load_experiment(name))


# tests/experiments/test_paper.py plans those of the paper's tasks
@pytest.mark.parametrize("name", [name for name in available("experiment") if not name.startswith("paper_")])
def test_every_experiment_of_the_package_passes_all_checks(name: str) -> None:
    experiment, jobs = load_experiment(name), plan_of(name)
    try_tasks(jobs)
    variants = max(len(experiment.variants), 1)
    assert len(jobs) == len(experiment.algorithms) * len(experiment.tasks) * len(experiment.seeds) * variants


@pytest.mark.slow
def test_the_papers_ablations_are_included() -> None:
    def values(name: str, key: str) -> list[Any]:
        jobs = plan_of(name)
        return list(dict.fromkeys(job.settings["agent"]["algorithm"][key] for job in jobs))

    assert values("denoising_steps", "num_denoise_steps") == [1, 4, 8, 16, 32]
    assert values("trust_region", "kl_bound") == [0.01, 0.1, 0.2, 0.4, 1.0, 50.0]
    assert values("chains", "kl_chains") == ["stored", "fresh"]
    assert load_experiment("algorithms").algorithms == ["trudi", "reppo", "dime", "ppo", "spo", "dppo", "fpo"]
    budgets = {job.algorithm: job.settings["agent"]["max_seconds"] for job in plan_of("wall_clock")}
    assert set(budgets) == {"trudi", "reppo", "ppo"}
    assert len(set(budgets.values())) == 1
    samplers = plan_of("samplers")[0].samplers
    assert {sampler["sampler"] for sampler in samplers} == {"sde", "ode", "best_of_k"}
    assert {sampler["score_scale"] for sampler in samplers} >= {0.5, None, 1.5, 2.0}


def test_runs_are_all_combinations_seed_by_seed_named_by_what_differs() -> None:
    jobs = planned({"variants": {"a": [], "only trudi": {"algorithms": ["trudi"]}}})
    one_seed = [("trudi", "a"), ("trudi", "only trudi"), ("ppo", "a")]
    assert names(jobs) == [(*what, seed) for seed in (1, 2) for what in one_seed]
    assert [job.label for job in jobs[:3]] == ["trudi a", "trudi only trudi", "ppo a"]
    assert len({job.folder for job in jobs}) == len(jobs)
    assert {job.label for job in planned({})} == {"trudi", "ppo"}
    assert {job.label for job in planned({"algorithms": ["ppo"], "variants": {"a": [], "b": []}})} == {"a", "b"}


def test_precedence_is_variant_then_algorithm_then_task_overrides_then_command_line_then_file() -> None:
    def gamma(content: dict[str, Any], *overrides: str) -> list[float]:
        jobs = planned(content | {"seeds": [1]}, overrides)
        return [job.settings["agent"]["algorithm"]["gamma"] for job in jobs]

    def override(value: float) -> list[str]:
        return [f"agent.algorithm.gamma={value}"]

    file = {"overrides": override(0.1)}
    assert gamma(file) == [0.1, 0.1]
    assert gamma(file, *override(0.2)) == [0.2, 0.2]
    file |= {"task_overrides": {"Pend*": override(0.25), "Ant-*": override(0.26)}}
    assert gamma(file, *override(0.2)) == [0.25, 0.25]
    file |= {"algorithm_overrides": {"ppo": override(0.3)}}
    assert gamma(file, *override(0.2)) == [0.25, 0.3]
    assert gamma(file | {"variants": {"v": override(0.4)}}, *override(0.2)) == [0.4, 0.4]


def test_a_run_has_the_settings_of_its_train_command() -> None:
    job = planned({"overrides": ["env.num_envs=3"]})[0]
    folder = f"x/{TASK}_trudi_seed1"
    overrides = ["agent.evaluation_episodes=null", "env.num_envs=3"]
    assert job.arguments == [
        *("--task", TASK, "--algo", "trudi", "--seed", "1", "--experiment_name", folder),
        *overrides,
    ]
    settings = {"agent.seed": 1, "agent.experiment_name": folder}
    assert job.settings == compose(TASK, "trudi", overrides, settings=settings)


def test_seconds_replace_the_iterations_of_their_algorithm() -> None:
    trudi, ppo = (job.settings["agent"] for job in planned({"seconds": {"ppo": 30}, "seeds": [1]}))
    assert (ppo["max_seconds"], trudi["max_seconds"]) == (30.0, None)
    assert ppo["max_iterations"] > 1000 * trudi["max_iterations"]


def test_a_run_of_a_host_that_starts_itself_is_trained_and_played_by_the_scripts() -> None:
    overrides = ["env.scene.num_envs=8", "agent.device=cpu", "agent.max_iterations=2", "physics=newton_mjwarp"]
    content = {"tasks": ["Isaac-Velocity-Flat-G1"], "algorithms": ["trudi"], "seeds": [3], "overrides": overrides}
    [job] = plan(from_mapping(BASE | content, "x.yaml"))
    ours = ["--headless", "--device", "cpu", "env.scene.num_envs=8"]
    folder = "x/Isaac-Velocity-Flat-G1_trudi_seed3"
    assert job.arguments == [
        *("--task", "Isaac-Velocity-Flat-G1", "--algo", "trudi", "--seed", "3", "--experiment_name", folder),
        *(*ours, "agent.max_iterations=2", "physics=newton_mjwarp"),
    ]
    assert job.play_arguments == [*ours, "physics=newton_mjwarp"]
    assert (env_steps(job), planned({})[0].play_arguments) == (8 * 64 * 2, None)
    [other] = plan(from_mapping(BASE | content | {"overrides": overrides[:-1]}, "x.yaml"))
    assert other.settings != job.settings


def test_expected_hours_are_those_of_finished_runs_then_of_the_stored_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    speed = {"Ant-*": {"trudi": 1e9}, "*": {"trudi": 100.0}}
    overrides = ["env.num_envs=100", "agent.num_steps_per_env=36", "agent.max_iterations=10"]
    experiment = from_mapping(BASE | {"overrides": overrides, "speed": speed, "speed_source": "a guess"}, "x.yaml")
    jobs = plan(experiment)
    trudi, ppo = expectations(experiment, jobs, jobs)
    assert (trudi.runs, trudi.hours, trudi.measured) == (2, pytest.approx(2 * 100 * 36 * 10 / 100 / 3600), 0)
    assert ppo.hours is None
    lines = "\n".join(describe(experiment, [trudi, ppo]))
    assert "a guess" in lines and "ppo: 2 runs, hours unknown" in lines and "come on top" in lines

    finished = next(job for job in jobs if job.algorithm == "ppo")
    attempt = finished.folder / "attempt"
    attempt.mkdir(parents=True)
    (attempt / "model_1.pt").touch()
    record = {"checkpoint": "model_1.pt", "settings": finished.settings, "wall_clock_s": 7200.0}
    write_json(attempt / RECORD_FILE, record)
    left = [job for job in jobs if job is not finished]
    assert [(entry.hours, entry.measured) for entry in expectations(experiment, jobs, left)][1] == (2.0, 1)


def test_the_hours_of_a_run_that_a_time_limit_ends_are_that_limit() -> None:
    experiment = from_mapping(BASE | {"seconds": {"ppo": 1800}}, "x.yaml")
    jobs = [job for job in plan(experiment) if job.algorithm == "ppo"]
    assert [entry.hours for entry in expectations(experiment, jobs, jobs)] == [1.0]


def test_an_algorithm_with_entries_in_the_file_can_be_left_out_by_a_flag() -> None:
    content = {"seconds": {"ppo": 30}, "variants": {"a": [], "b": {"algorithms": ["ppo"]}}}
    experiment = from_mapping(BASE | content, "x.yaml")
    experiment.algorithms = ["trudi"]
    assert names(plan(experiment)) == [("trudi", "a", 1), ("trudi", "a", 2)]


def test_each_algorithm_gets_the_samplers_that_it_supports() -> None:
    trudi, ppo = planned({"seeds": [1], "evaluation": {"samplers": ["sde", "best_of_k"]}})
    assert [sampler["sampler"] for sampler in trudi.samplers] == ["sde", "best_of_k"]
    assert [sampler["sampler"] for sampler in ppo.samplers] == ["sde"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"tasks": [], "algorithms": []}, "algorithms and tasks, or add --algorithms --tasks"),
        ({"variants": {"v": {"algorithms": []}}}, "no variant is for its algorithms"),
        ({"algorithms": ["trudy"]}, "trudy, Pendulum-v1: Unknown algorithm 'trudy'. Did you mean 'trudi'"),
        ({"tasks": ["Pendulun-v1"]}, "Pendulun-v1: .* Did you mean 'Pendulum-v1'"),
        ({"tasks": ["Mjlab-Cartpole-Swingup"], "algorithms": ["sac"]}, "Unknown algorithm 'sac'"),
        ({"tasks": ["Mjlab-Cartpole-Swingup"], "seconds": {"ppo": 3}}, "mjlab's .* no setting agent.max_seconds"),
        ({"tasks": ["Isaac-Ant"], "overrides": ["agent.seed"]}, "Cannot read 'agent.seed' as an override"),
        ({"tasks": ["CartPole-v1"]}, "Discrete"),
        ({"overrides": ["agent.algorithm.gama=1"]}, "trudi, Pendulum-v1: Unknown setting .* Did you mean 'gamma'"),
        ({"variants": {"v": ["agent.algorithm.gamma=2"]}}, "trudi, v, Pendulum-v1: .*gamma"),
        ({"variants": {"v": ["env.env_kwargs.gg=2"]}}, "no option 'gg'"),
        ({"overrides": ["agent.device=abacus"]}, "'abacus'"),
        ({"overrides": ["agent.seed=3"]}, "agent.seed cannot be overridden"),
        ({"variants": {"v": ["agent.logger=tensorboard"]}}, "agent.logger cannot be overridden"),
        ({"seeds": [1, 2, 1]}, "one folder, Pendulum-v1_trudi_seed1: .*twice"),
        ({"algorithms": ["ppo", "ppo"]}, "one folder, Pendulum-v1_ppo_seed1: .*twice"),
        ({"variants": {"a b": [], "a-b": []}}, "Two runs would write to one folder, .*'a b' and 'a-b'"),
        ({"variants": {"a": [], "A": []}}, "Two runs would write to one folder"),
        ({"seeds": [-1]}, "A seed must be an integer of at least 0 and below 2.32; got -1"),
        ({"name": "../x"}, "name .* got '../x'"),
        ({"seconds": {"reppo": 3}}, "seconds names 'reppo', which is not among the algorithms"),
        ({"seconds": {"ppo": 0}}, "agent.max_seconds must be above 0"),
        ({"speed": {"*": {"reppo": 3}}}, r"speed of \* names 'reppo', which is not among the algorithms"),
        ({"speed": {"*": {"ppo": 0}}}, r"speed of ppo on \* must be above 0 steps per second; got 0"),
        ({"speed": {"*": 3}}, "speed"),
        ({"task_overrides": {"*": [["a"]]}}, "task_overrides"),
        ({"task_overrides": {"Pend*": ["agent.algorithm.gama=1"]}}, "Unknown setting .* Did you mean 'gamma'"),
        ({"variants": {"v": "agent.algorithm.gamma=0.5"}}, "Variant 'v' must be a section of overrides"),
        ({"variants": {"v": {"override": []}}}, r"Variant 'v': unknown entry 'override'\. Did you mean 'overrides'"),
        ({"variants": {"v": {"algorithms": ["pp"]}}}, "variant 'v' names 'pp'.*Did you mean 'ppo'"),
        ({"algorithm_overrides": {"reppo": []}}, "algorithm_overrides names 'reppo'"),
        ({"evaluation": {"samplers": ["best_of_k"]}}, "ppo, Pendulum-v1: ppo has no sampler 'best of 20'"),
        ({"evaluation": {"samplers": []}}, "list of samplers is empty"),
        ({"evaluation": {"episodes": 0}}, "episodes must be an integer of at least 1"),
        ({"normalize": {TASK: [0, 0]}}, "must be finite and differ"),
        ({"seed": [1]}, "unknown entry 'seed'. Did you mean .*'seeds'"),
        ({"seeds": ["one"]}, "seeds.*one"),
        ({"seeds": [[1]]}, "seeds must list single values"),
        ({"seconds": {"trudi": [3]}}, "seconds must list single values"),
        ({"algorithm_overrides": {"trudi": [["a"]]}}, "algorithm_overrides"),
        ({"evaluation": {"sampler": ["sde"]}}, "evaluation: unknown entry 'sampler'. Did you mean 'samplers'"),
        ({"evaluation": 3}, "evaluation must be a section"),
    ],
)
def test_impossible_entries_are_reported_before_anything_runs(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(content)


def test_a_folder_of_other_runs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "logs" / "rsl_rl" / "x" / "2026-01-01_00-00-00"
    run.mkdir(parents=True)
    planned({})
    (run / "model_1.pt").touch()
    with pytest.raises(ConfigError, match=r"rsl_rl/x holds training runs.*--name"):
        planned({})


@pytest.mark.parametrize(("text", "message"), [("- 1", "must hold lines"), ("a: [", "is not YAML")])
def test_files_that_hold_no_section_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_experiment(str(tmp_path / "x.yaml"))


def test_an_experiment_is_found_by_path_or_name_and_named_after_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seeds: [3]")
    assert load_experiment(str(tmp_path / "mine.yaml")).name == "mine"
    assert load_experiment("denoising_steps").name == "denoising_steps"
    with pytest.raises(ConfigError, match=r"No experiment 'denoise': .* Did you mean 'denoising_steps'"):
        load_experiment("denoise")
