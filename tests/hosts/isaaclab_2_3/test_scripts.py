# SPDX-License-Identifier: BSD-3-Clause
"""``scripts/train.py`` and ``scripts/play.py`` with TruDi under Isaac Lab 2.3: app launcher, Hydra, wrapper."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnxruntime
import pytest
import torch
from tensordict import TensorDict

from tests.hosts.isaaclab_2_3.running import FLAGS, MARKS, PYTHONPATH, TASK, run
from tests.hosts.shared import add_checkpoints, check_every_checkpoint, refused_before_imports
from trudi_rsl.algorithms import load_actor_critic
from trudi_rsl.checkpoints.file import read_checkpoint

pytestmark = MARKS

SMALL = ("num_denoise_steps=2", "actor_hidden_dims=[16]", "critic_hidden_dim=16", "num_mini_batches=2", "compile=off")


def test_a_task_is_trained_resumed_and_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert "Isaac-Point-Direct-v0, trudi, sampler ode from random starts, seed 3" in output
    check_every_checkpoint(folder, output)
    assert {path.name for path in folder.iterdir()} == before | {"best.pt"}

    # without the stand-ins for Isaac Sim: the first start has read the names
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    refused = refused_before_imports(tmp_path, "train", "--task", TASK, *FLAGS, "env.decimatoin=7", *settings)
    assert "'decimation'" in refused
