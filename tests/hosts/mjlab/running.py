# SPDX-License-Identifier: BSD-3-Clause
"""Running mjlab's commands and this project's scripts as a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import torch
from tensordict import TensorDict

from trudi_rsl.algorithms import load_actor_critic

FLAT = "Mjlab-Velocity-Flat-Unitree-G1"
ROUGH = "Mjlab-Velocity-Rough-Unitree-G1"
CARTPOLE = "Mjlab-Cartpole-Swingup"

# Small settings in mjlab's grammar.
SMALL = (
    *("--gpu-ids", "None", "--env.scene.num-envs", "4", "--agent.logger", "tensorboard"),
    *("--agent.num-steps-per-env", "8", "--agent.save-interval", "1", "--agent.algorithm.num-mini-batches", "2"),
    *("--agent.algorithm.actor-hidden-dims", "16", "16", "--agent.algorithm.critic-hidden-dim", "16"),
)
# The same in Hydra's.
SMALL_OVERRIDES = (
    *("agent.num_steps_per_env=8", "agent.save_interval=1", "agent.algorithm.num_mini_batches=2"),
    *("agent.algorithm.actor_hidden_dims=[16,16]", "agent.algorithm.critic_hidden_dim=16"),
)


def mjlab_command(command: str, *args: str, cwd: Path) -> str:
    """Run mjlab's ``train`` or ``play`` and return the output."""
    program = Path(sys.executable).with_name(command)
    done = subprocess.run([program, *args], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def newest_run(folder: Path) -> Path:
    """Return the newest run folder below ``folder``."""
    return max(folder.glob("logs/rsl_rl/*/*/params"), key=lambda p: p.stat().st_mtime_ns).parent


def onnx_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of an ONNX file."""
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def assert_acts_as(path: Path, checkpoint: Path) -> None:
    """Check that an ONNX file alone returns the deterministic actions of a checkpoint's policy."""
    policy, spec = load_actor_critic(checkpoint)
    (group,) = spec["obs_groups"]["actor"]
    obs = torch.randn(3, spec["obs_dims"][group], generator=torch.Generator().manual_seed(0))
    # From bytes, so that weights in a second file would be missing.
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = policy.as_onnx()(obs)
        # The module's critic reads other groups.
        groups = {name: torch.zeros(3, size) for name, size in spec["obs_dims"].items()} | {group: obs}
        torch.testing.assert_close(expected, policy(TensorDict(groups, batch_size=[3])), rtol=1e-4, atol=1e-5)
    for row, action in zip(obs, expected, strict=True):
        (got,) = session.run(["actions"], {"obs": row[None].numpy()})
        torch.testing.assert_close(torch.as_tensor(got)[0], action, rtol=1e-4, atol=1e-5)
