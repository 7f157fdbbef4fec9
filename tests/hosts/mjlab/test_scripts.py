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

from scripts import play as play_script
from scripts import train as train_script
from tests.hosts.mjlab.running import CARTPOLE, FLAT, SMALL_OVERRIDES, assert_acts_as, newest_run, onnx_metadata
from tests.hosts.shared import add_checkpoints, check_every_checkpoint
from trudi_rsl.checkpoints.file import read_checkpoint

EPISODE = "env.episode_length_s=0.5"


class Scripts:
    """The scripts, run in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def train(self, *args: str) -> Path:
        """Train and return the run folder."""
        assert train_script.main(["--headless", "--num_envs", "4", "--max_iterations", "1", *args]) == 0
        return newest_run(Path.cwd())

    def train_error(self, *args: str) -> str:
        """Return the one-line error of a refused training."""
        self._capsys.readouterr()
        assert train_script.main(["--headless", "--num_envs", "4", "--max_iterations", "1", *args]) in (1, 2)
        return self._capsys.readouterr().err.strip().splitlines()[-1]

    def play(self, *args: str) -> str:
        """Play and return the output."""
        self._monkeypatch.setattr("sys.argv", ["play.py", *args])
        self._capsys.readouterr()
        play_script.main()
        return self._capsys.readouterr().out

    def play_error(self, *args: str) -> str:
        """Return the one-line error of a refused play."""
        with pytest.raises(SystemExit) as exit_info:
            self.play(*args)
        return str(exit_info.value.code)


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Scripts:
    monkeypatch.chdir(tmp_path)
    return Scripts(monkeypatch, capsys)


@pytest.fixture(scope="module")
def cartpole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of one iteration of TruDi on the cartpole."""
    folder = tmp_path_factory.mktemp("cartpole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        args = ["--task", CARTPOLE, "--num_envs", "4", "--max_iterations", "1", "--seed", "3", "--run_name", "first"]
        assert train_script.main([*args, *SMALL_OVERRIDES, "agent.algorithm.kl_bound=0.2", "video_length=7"]) == 0
    return newest_run(folder)


@pytest.mark.slow
def test_flags_and_overrides_reach_mjlabs_own_training(cartpole_run: Path) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_first", cartpole_run.name)
    assert cartpole_run.parent.name == "cartpole_trudi"
    agent = yaml.full_load((cartpole_run / "params" / "agent.yaml").read_text())
    assert (agent["seed"], agent["logger"], agent["max_iterations"]) == (3, "tensorboard", 1)
    assert "  num_envs: 4\n" in (cartpole_run / "params" / "env.yaml").read_text()
    settings = read_checkpoint(cartpole_run / "model_0.pt")["trudi_rsl"]["settings"]
    assert settings["kl_bound"] == 0.2
    assert settings["actor_hidden_dims"] == [16, 16]


@pytest.mark.slow
def test_a_run_is_resumed_by_folder_and_counts_on(cartpole_run: Path, scripts: Scripts) -> None:
    args = ["--task", CARTPOLE, "--num_envs", "4", "--max_iterations", "1", "--checkpoint", str(cartpole_run)]
    assert train_script.main([*args, *SMALL_OVERRIDES, "agent.algorithm.kl_bound=0.2"]) == 0
    (resumed,) = (run for run in cartpole_run.parent.iterdir() if run != cartpole_run)
    assert read_checkpoint(resumed / "model_0.pt")["infos"]["env_state"]["common_step_counter"] == 16


@pytest.mark.slow
def test_play_prints_returns_and_exports_the_policy(flat_run: Path, scripts: Scripts) -> None:
    output = scripts.play("--task", FLAT, "--checkpoint", str(flat_run), "--episodes", "2", EPISODE, "--num_envs", "2")
    assert "Returns on" in output
    exported = flat_run / "exported" / "policy.onnx"
    metadata = onnx_metadata(exported)
    assert len(metadata["joint_names"].split(",")) == 29
    assert metadata["task"] == FLAT
    assert_acts_as(exported, flat_run / "model_1.pt")


@pytest.mark.slow
def test_every_checkpoint_of_a_run_is_played_alike_and_best_names_the_best(
    cartpole_run: Path, scripts: Scripts, tmp_path: Path
) -> None:
    run = shutil.copytree(cartpole_run, tmp_path / "run")
    add_checkpoints(run)
    output = scripts.play("--task", CARTPOLE, "--checkpoint", "run", "--every_checkpoint", "--num_envs", "4", EPISODE)
    check_every_checkpoint(run, output)
    assert not (run / "exported").exists()


@pytest.mark.slow
def test_reppo_trains_resumes_plays_and_exports(scripts: Scripts) -> None:
    run = scripts.train("--task", CARTPOLE, "--algo", "reppo", *SMALL_OVERRIDES)
    assert run.parent.name == "cartpole_reppo"
    spec = read_checkpoint(run / "model_0.pt")["trudi_rsl"]
    assert (spec["policy"], spec["settings"]["entropy_target_per_dim"]) == ("gaussian", -0.5)
    resumed = scripts.train("--task", CARTPOLE, "--algo", "reppo", "--checkpoint", str(run), *SMALL_OVERRIDES)
    assert read_checkpoint(resumed / "model_0.pt")["infos"]["env_state"]["common_step_counter"] == 16
    output = scripts.play("--task", CARTPOLE, "--algo", "reppo", "--episodes", "2", EPISODE)
    assert "reppo, sampler ode" in output
    assert_acts_as(resumed / "exported" / "policy.onnx", resumed / "model_0.pt")
    error = scripts.train_error("--task", CARTPOLE, "--checkpoint", str(run), *SMALL_OVERRIDES)
    assert "is a checkpoint of reppo, not of trudi" in error


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["spo", "dppo", "fpo"])
def test_ppos_relatives_train_resume_play_and_export(scripts: Scripts, algo: str) -> None:
    flags = ("--task", CARTPOLE, "--algo", algo)
    run = scripts.train(*flags, "agent.num_steps_per_env=8")
    assert run.parent.name == f"cartpole_{algo}"
    resumed = scripts.train(*flags, "--checkpoint", str(run), "agent.num_steps_per_env=8")
    assert read_checkpoint(resumed / "model_0.pt")["infos"]["env_state"]["common_step_counter"] == 16
    output = scripts.play(*flags, "--episodes", "2", EPISODE)
    assert f"{algo}, sampler ode" in output
    # the export compares its files with PyTorch before it keeps them
    assert (resumed / "exported" / "policy.onnx").is_file()


@pytest.mark.slow
def test_the_tasks_own_ppo_trains_and_plays(scripts: Scripts) -> None:
    run = scripts.train("--task", CARTPOLE, "--algo", "ppo", "agent.num_steps_per_env=8")
    assert run.parent.name == "cartpole"
    assert read_checkpoint(run / "model_0.pt")["trudi_rsl"]["algorithm"] == "ppo"
    for sampler in ("ode", "sde"):
        flags = ("--algo", "ppo", "--sampler", sampler, "--episodes", "2")
        output = scripts.play("--task", CARTPOLE, *flags, EPISODE)
        assert f"ppo, sampler {sampler}" in output
    error = scripts.train_error("--task", CARTPOLE, "--checkpoint", str(run), *SMALL_OVERRIDES)
    assert "is a checkpoint of ppo, not of trudi" in error


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--task", "Mjlab-Cartpole-Swingap"], "'Mjlab-Cartpole-Swingap'.*'Mjlab-Cartpole-Swingup'"),
        (["--task", CARTPOLE, "--algo", "sac"], "'sac'"),
        (["--task", CARTPOLE + "-TruDi", "--algo", "ppo"], "--task Mjlab-Cartpole-Swingup"),
        (["--task", CARTPOLE, "agent.algorithm.actor=gaussian"], "actor must be diffusion.*--algo reppo"),
        (["--task", CARTPOLE, "--algo", "reppo", "agent.algorithm.kl_chains=fresh"], "kl_chains must be stored"),
        (["--task", "Mjlab-Lift-Cube-Yam-Rgb"], "images"),
        (["--task", CARTPOLE, "agent.algorithm.kl_bond=0.2"], "'kl_bond' in agent.algorithm.*'kl_bound'"),
        (["--task", CARTPOLE, "env.scene.num_env=3"], "'num_env' in env.scene.*'num_envs'"),
        (["--task", CARTPOLE, "--algo", "ppo", "agent.algorithm.kl_bound=0.2"], "'kl_bound' in agent.algorithm"),
        (["--task", CARTPOLE, "agent.algorithm.kl_bound=-1"], "kl_bound must be above 0"),
        (["--task", CARTPOLE, "agent.seed=many"], "agent.seed.*'many'"),
        (["--task", CARTPOLE, "agent.seed"], "'agent.seed'"),
        (["--task", CARTPOLE, "--device", "cuda:7"], "'cuda:7'"),
        (["--task", CARTPOLE, "--resume", "--load_run", "nosuch"], "cartpole_trudi .*'nosuch'"),
        (["--task", CARTPOLE, "--physics", "newton"], "--physics"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(args: list[str], named: str, scripts: Scripts) -> None:
    error = scripts.train_error(*args)
    assert error.startswith("Error: ")
    assert re.search(named, error)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_distributed_training_needs_a_gpu(scripts: Scripts) -> None:
    assert "--distributed" in scripts.train_error("--task", CARTPOLE, "--distributed")


def test_a_checkpoint_of_another_task_is_refused_before_the_simulator_starts(flat_run: Path, scripts: Scripts) -> None:
    error = scripts.play_error("--task", CARTPOLE, "--checkpoint", str(flat_run), "--episodes", "1")
    assert f"trained on task '{FLAT}', not on '{CARTPOLE}'" in error


def test_without_mjlab_the_error_has_the_install_command(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "mjlab" else find_spec(name, *a))
    assert 'pip install "mjlab==1.6.0"' in scripts.train_error("--task", CARTPOLE)
    assert 'pip install "mjlab==1.6.0"' in scripts.play_error("--task", CARTPOLE, "--episodes", "1")


@pytest.mark.slow
def test_a_checkpoint_outside_of_a_run_folder_plays_with_the_tasks_settings(
    cartpole_run: Path, scripts: Scripts, tmp_path: Path
) -> None:
    shutil.copy(cartpole_run / "model_0.pt", tmp_path / "model_0.pt")
    output = scripts.play("--task", CARTPOLE, "--checkpoint", "model_0.pt", "--episodes", "1", "--headless", EPISODE)
    assert "Checkpoint: model_0.pt" in output
