# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Impossible tasks, settings and devices are refused in one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import jax
import pytest
import torch
from mujoco_playground._src import mjx_env

from scripts.train import main
from tests.hosts.playground.running import CARTPOLE, G1
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.playground import PlaygroundVecEnv, backend, task


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "playground:CheetaRun"], ["no task 'CheetaRun'", "'CheetahRun'"]),
        (["--task", CARTPOLE, "env.impl=wrap"], ["env.impl", "auto, jax, warp", "'wrap'"]),
        (["--task", CARTPOLE, "env.config.ctrl_d=0.02"], ["env.config.ctrl_d", "'ctrl_dt'"]),
        (["--task", CARTPOLE, "env.config.ctrl_dt.x=0.02"], ["env.config.ctrl_dt has no parts"]),
        (["--task", CARTPOLE, "env.config.sim_dt=quick"], ["env.config.sim_dt=quick"]),
        (["--task", CARTPOLE, "env.episode_length=0"], ["env.episode_length", "at least 1"]),
        (["--task", CARTPOLE, "env.impl=1.5", "env.frames=3"], ["'frames'"]),
        (["--task", "CheetahRun", "env.config.vision=true"], ["CheetahRun", "Vision"]),
        (["--task", G1, "env.menagerie=/nowhere"], ["env.menagerie", "'/nowhere'"]),
        (["--task", "playground:no_such_package:Task"], ["no_such_package", "Cannot import"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    result = main([*arguments, "--device", "cpu"])
    error = capsys.readouterr().err
    assert result == 2, error
    assert error.startswith("Error: ") and error.count("\n") == 1
    assert [word for word in words if word not in error] == []
    assert not any(tmp_path.iterdir())


def test_a_humanoid_without_its_meshes_names_the_package_and_the_setting() -> None:
    assert not mjx_env.MENAGERIE_PATH.exists()
    with pytest.raises(ConfigError, match=rf"pip install {task.ASSETS_PACKAGE}.*env\.menagerie=") as error:
        PlaygroundVecEnv(G1, 2)
    assert "\n" not in str(error.value)
    assert not mjx_env.MENAGERIE_PATH.exists(), "nothing may be downloaded"


def test_a_menagerie_without_the_robot_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"cannot load task '{G1}'.*{tmp_path}"):
        PlaygroundVecEnv(G1, 2, menagerie=str(tmp_path))


def test_a_gpu_that_only_pytorch_has_names_the_package_that_jax_lacks() -> None:
    with pytest.raises(ConfigError, match=r'JAX .* has no GPU.*pip install "jax\[cuda13\]==.*--device cpu'):
        backend.jax_device(torch.device("cuda:0"))
    with pytest.raises(ConfigError, match="cpu or cuda, not on 'meta'"):
        backend.jax_device(torch.device("meta"))


def test_an_implementation_that_the_task_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="no choice of its physics"):
        PlaygroundVecEnv("tests.hosts.playground.clock_task:Clock", 2, impl="jax")


def test_physics_that_the_implementation_lacks_names_the_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise NotImplementedError("Geom pair not supported.")

    monkeypatch.setattr(task, "registry", SimpleNamespace(load=refuse))
    with pytest.raises(ConfigError, match=r"env.impl=jax: Geom pair not supported.. Try env.impl=warp"):
        task._make("Task", {}, "jax")


def test_jax_leaves_the_gpus_memory_to_pytorch_and_keeps_what_it_compiles() -> None:
    assert backend.os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert jax.config.jax_compilation_cache_dir is not None
