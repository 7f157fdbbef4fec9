# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""scripts/train.py and scripts/play.py on tasks of mjlab."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from scripts import train as train_script
from tests.hosts.mjlab.running import CARTPOLE, FLAT, SMALL_OVERRIDES, assert_acts_as, newest_run, onnx_metadata
from tests.hosts.shared import add_checkpoints, check_every_checkpoint
from tests.scripts.running import ScriptHere
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import algorithm_of

EPISODE = "env.episode_length_s=0.5"
SHORT = ("--headless", "--num_envs", "4", "--max_iterations", "1")

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> ScriptHere:
    """Return ``scripts/play.py``; the test runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return ScriptHere("play.py", tmp_path, monkeypatch, capsys)


def train(*args: str) -> Path:
    """Train the cartpole in this process and return the run folder."""
    assert train_script.main(["--task", CARTPOLE, *SHORT, *args]) == 0
    return newest_run(Path.cwd())


def train_error(capsys: Capsys, *args: str) -> str:
    """Return the one-line error of a refused training."""
    capsys.readouterr()
    assert train_script.main([*SHORT, *args]) in (1, 2)
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def cartpole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of one iteration of TruDi on the cartpole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cartpole"))
        return train(
            "--seed", "3", "--run_name", "first", *SMALL_OVERRIDES, "agent.algorithm.kl_bound=0.2", "video_length=7"
        )


@pytest.mark.slow
def test_flags_and_overrides_reach_mjlabs_own_training(cartpole_run: Path) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_first", cartpole_run.name)
    assert cartpole_run.parent.name == "cartpole_trudi"
    agent = yaml.full_load((cartpole_run / "params" / "agent.yaml").read_text())
    assert (agent["seed"], agent["logger"], agent["max_iterations"]) == (3, "tensorboard", 1)
    assert "  num_envs: 4\n" in (cartpole_run / "params" / "env.yaml").read_text()
    settings = read_checkpoint(cartpole_run / "model_0.pt")["trudi_rsl"]["settings"]
    assert (settings["kl_bound"], settings["actor_hidden_dims"]) == (0.2, [16, 16])


@pytest.mark.slow
def test_play_prints_returns_and_exports_the_policy(flat_run: Path, play: ScriptHere) -> None:
    output = play("--task", FLAT, "--checkpoint", flat_run, "--episodes", "2", EPISODE, "--num_envs", "2")
    assert "Returns on" in output
    exported = flat_run / "exported" / "policy.onnx"
    metadata = onnx_metadata(exported)
    assert len(metadata["joint_names"].split(",")) == 29
    assert metadata["task"] == FLAT
    assert_acts_as(exported, flat_run / "model_1.pt")


@pytest.mark.slow
def test_every_checkpoint_of_a_run_is_played_alike_and_best_names_the_best(
    cartpole_run: Path, play: ScriptHere, tmp_path: Path
) -> None:
    run = shutil.copytree(cartpole_run, tmp_path / "run")
    add_checkpoints(run)
    output = play("--task", CARTPOLE, "--checkpoint", "run", "--every_checkpoint", "--num_envs", "4", EPISODE)
    check_every_checkpoint(run, output)
    assert not (run / "exported").exists()
    # outside of a run folder, with the task's settings
    shutil.copy(cartpole_run / "model_0.pt", tmp_path / "model_0.pt")
    output = play("--task", CARTPOLE, "--checkpoint", "model_0.pt", "--episodes", "1", "--headless", EPISODE)
    assert "Checkpoint: model_0.pt" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    "algo",
    ["trudi", "ppo", *(pytest.param(algo, marks=pytest.mark.nightly) for algo in ("reppo", "spo", "dppo", "fpo"))],
)
def test_an_algorithm_trains_resumes_plays_and_exports(algo: str, play: ScriptHere, capsys: Capsys) -> None:
    small = SMALL_OVERRIDES if algo in ("trudi", "reppo") else ("agent.num_steps_per_env=8",)
    run = train("--algo", algo, *small)
    assert run.parent.name == ("cartpole" if algo == "ppo" else f"cartpole_{algo}")
    assert algorithm_of(read_checkpoint(run / "model_0.pt")) == algo
    if algo != "ppo":
        resumed = train("--algo", algo, "--checkpoint", str(run), "--max_iterations", "2", *small)
        newest = max(resumed.glob("model_*.pt"))  # RSL-RL's runner, of PPO's relatives, repeats the last number
        assert read_checkpoint(newest)["infos"]["env_state"]["common_step_counter"] == 16
    for sampler in ("ode", "sde") if algo == "ppo" else ("ode",):
        flags = ("--algo", algo, "--sampler", sampler, "--episodes", "2")
        assert f"{algo}, sampler {sampler}" in play("--task", CARTPOLE, *flags, EPISODE)
    # the export compares its files with PyTorch before it keeps them
    exported = newest_run(Path.cwd()) / "exported" / "policy.onnx"
    assert exported.is_file() == (algo != "ppo")
    if algo == "reppo":
        spec = read_checkpoint(run / "model_0.pt")["trudi_rsl"]
        assert (spec["policy"], spec["settings"]["entropy_target_per_dim"]) == ("gaussian", -0.5)
        assert_acts_as(exported, exported.parents[1] / "model_1.pt")
    if algo != "trudi":
        error = train_error(capsys, "--task", CARTPOLE, "--checkpoint", str(run), *SMALL_OVERRIDES)
        assert f"is a checkpoint of {algo}, not of trudi" in error


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--task", "Mjlab-Cartpole-Swingap"], "'Mjlab-Cartpole-Swingap'.*'Mjlab-Cartpole-Swingup'"),
        (["--task", CARTPOLE, "--algo", "sac"], "'sac'"),
        (["--task", CARTPOLE + "-TruDi", "--algo", "ppo"], "--task Mjlab-Cartpole-Swingup"),
        (["--task", CARTPOLE, "agent.algorithm.actor=gaussian"], "agent.algorithm.actor must be diffusion.*gaussian"),
        (["--task", CARTPOLE, "--algo", "reppo", "agent.algorithm.kl_chains=fresh"], "kl_chains .*in REPPO.*'fresh'"),
        (["--task", CARTPOLE, "agent.algorithm.kl_bond=0.2"], "'kl_bond' in agent.algorithm.*'kl_bound'"),
        (["--task", CARTPOLE, "env.scene.num_env=3"], "'num_env' in env.scene.*'num_envs'"),
        (["--task", CARTPOLE, "--algo", "ppo", "agent.algorithm.kl_bound=0.2"], "'kl_bound' in agent.algorithm"),
        (["--task", CARTPOLE, "agent.algorithm.kl_bound=-1"], "kl_bound must be above 0"),
        (["--task", CARTPOLE, "agent.seed=many"], "agent.seed must be an integer; got many"),
        (["--task", CARTPOLE, "agent.seed"], "'agent.seed'"),
        (["--task", CARTPOLE, "--device", "cuda:7"], "'cuda:7'"),
        (["--task", CARTPOLE, "--resume", "--load_run", "nosuch"], "cartpole_trudi .*'nosuch'"),
        (["--task", CARTPOLE, "--physics", "newton"], "--physics"),
        pytest.param(
            ["--task", CARTPOLE, "--distributed"],
            "--distributed",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
@pytest.mark.usefixtures("play")
def test_wrong_arguments_are_refused_in_one_line(args: list[str], named: str, capsys: Capsys) -> None:
    error = train_error(capsys, *args)
    assert error.startswith("Error: ")
    assert re.search(named, error)


def test_a_checkpoint_of_another_task_is_refused_before_the_simulator_starts(flat_run: Path, play: ScriptHere) -> None:
    error = play.error("--task", CARTPOLE, "--checkpoint", flat_run, "--episodes", "1")
    assert f"trained on task '{FLAT}', not on '{CARTPOLE}'" in error


def test_without_mjlab_the_error_has_the_install_command(
    play: ScriptHere, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "mjlab" else find_spec(name, *a))
    assert 'pip install "mjlab==1.6.0"' in train_error(capsys, "--task", CARTPOLE)
    assert 'pip install "mjlab==1.6.0"' in play.error("--task", CARTPOLE, "--episodes", "1")
