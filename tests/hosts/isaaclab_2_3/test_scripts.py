# SPDX-License-Identifier: BSD-3-Clause
"""``scripts/train.py`` and ``scripts/play.py`` under Isaac Lab 2.3: its launcher of the app, Hydra and wrapper."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import onnxruntime
import pytest
import torch
from tensordict import TensorDict

from tests.hosts.environments import HOSTS
from tests.hosts.shared import add_checkpoints, check_every_checkpoint
from trudi_rsl.algorithms import load_actor_critic
from trudi_rsl.checkpoints.file import read_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        version("rsl-rl-lib") != HOSTS["isaaclab_2_3"].rsl_rl[-1],
        reason="test_training.py covers the differences of RSL-RL's versions; starting Isaac Lab is slow",
    ),
]

ROOT = Path(__file__).parents[3]
MODULE = "tests.hosts.isaaclab_2_3.isaac_sim_stubs"
TASK = "tests.hosts.isaaclab_2_3.point_task:Isaac-Point-Direct-v0"
FLAGS = ("--headless", "--num_envs", "6", "agent.num_steps_per_env=8")
SMALL = ("num_denoise_steps=2", "actor_hidden_dims=[16]", "critic_hidden_dim=16", "num_mini_batches=2", "compile=off")


def run(folder: Path, script: str, *args: str) -> str:
    command = [sys.executable, "-m", MODULE, str(ROOT / "scripts" / script), "--task", TASK, "--device", "cpu", *args]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join((os.environ["PYTHONPATH"], str(ROOT)))}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_a_task_is_trained_resumed_and_played(tmp_path: Path) -> None:
    settings = [f"agent.algorithm.{setting}" for setting in SMALL]
    run(tmp_path, "train.py", *FLAGS, "--max_iterations", "2", "--seed", "3", *settings)
    [checkpoint] = tmp_path.rglob("model_1.pt")
    policy, spec = load_actor_critic(checkpoint)
    assert (spec["task"], spec["settings"]["num_denoise_steps"]) == ("Isaac-Point-Direct-v0", 2)

    output = run(tmp_path, "train.py", *FLAGS, "--more_iterations", "1", "--resume")
    assert f"Resuming from: {checkpoint.relative_to(tmp_path)}" in output
    [resumed] = set(tmp_path.rglob("model_*.pt")) - set(checkpoint.parent.iterdir())
    assert resumed.name == "model_2.pt"
    record = read_checkpoint(resumed)["run"]
    assert record["seed"] == 3 and set(settings) <= set(record["overrides"]), "a resume keeps what the run was given"

    play = ("play.py", *FLAGS[:3], "--seed", "3", "--checkpoint")
    output = run(tmp_path, *play, str(checkpoint), "--episodes", "6", *settings)
    assert "episodes" in output
    session = onnxruntime.InferenceSession(str(checkpoint.parent / "exported" / "policy.onnx"))
    obs = torch.randn(1, 4)
    exported = torch.from_numpy(session.run(["actions"], {"obs": obs.numpy()})[0])
    expected = policy(TensorDict({"policy": obs, "critic": torch.zeros(1, 5)}, batch_size=[1]))
    torch.testing.assert_close(exported, expected, rtol=1e-4, atol=1e-6)

    folder = shutil.copytree(checkpoint.parent, tmp_path / "run")
    add_checkpoints(folder)
    before = {path.name for path in folder.iterdir()}
    output = run(tmp_path, *play, str(folder), "--every_checkpoint", *settings)
    assert "Isaac-Point-Direct-v0, trudi, sampler ode, seed 3" in output
    check_every_checkpoint(folder, output)
    assert {path.name for path in folder.iterdir()} == before | {"best.pt"}


def test_the_tasks_own_ppo_is_trained_resumed_and_played(tmp_path: Path) -> None:
    run(tmp_path, "train.py", "--algo", "ppo", *FLAGS, "--max_iterations", "2")
    [checkpoint] = tmp_path.rglob("model_1.pt")
    assert any(name.startswith("actor.") for name in torch.load(checkpoint, weights_only=False)["model_state_dict"])

    output = run(tmp_path, "train.py", "--algo", "ppo", *FLAGS, "--more_iterations", "1", "--resume")
    assert f"Resuming from: {checkpoint.relative_to(tmp_path)}" in output

    output = run(tmp_path, "play.py", *FLAGS[:3], "--checkpoint", str(checkpoint), "--episodes", "6", "--seed", "3")
    assert "Isaac-Point-Direct-v0, ppo" in output
    session = onnxruntime.InferenceSession(str(checkpoint.parent / "exported" / "policy.onnx"))
    exported = torch.from_numpy(session.run(["actions"], {"obs": torch.randn(1, 4).numpy()})[0])
    assert exported.isfinite().all()
