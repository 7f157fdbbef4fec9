# SPDX-License-Identifier: BSD-3-Clause
"""Our scripts with the task's own PPO under Isaac Lab 2.3: app launcher, Hydra, wrapper."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch

from tests.hosts.isaaclab_2_3.running import FLAGS, MARKS, run

pytestmark = MARKS


@pytest.mark.nightly
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
