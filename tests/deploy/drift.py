# SPDX-License-Identifier: BSD-3-Clause
"""A small simulator with observation groups and uneven action bounds, policies trained on it and their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.policies.diffusion import DiffusionPolicy

OBS_MEAN, OBS_STD = 30.0, 7.0
LARGEST_ACTION = torch.tensor([1.0, 30.0, 0.5])
METADATA = {"task": "Drift-v0", "algorithm": "TruDi", "obs_dims": {"joints": 5, "base": 4}}
GOOD = np.full(9, 30.0, np.float32)
BAD = np.where(np.arange(9) == 3, np.nan, GOOD)


class DriftEnv(VecEnv):
    """A point pushed by three bounded actions; two observation groups for the actor, one more for the critic."""

    task = "Drift-v0"
    action_low = torch.tensor([-1.0, -20.0, 0.0])
    action_high = torch.tensor([1.0, 30.0, 0.5])

    def __init__(self) -> None:
        self.num_envs, self.num_actions, self.max_episode_length, self.device = 8, 3, 10, "cpu"
        self.cfg = {}
        self.episode_length_buf = torch.zeros(8, dtype=torch.long)
        self.state = torch.randn(8, 9)

    def get_observations(self) -> TensorDict:
        raw = OBS_MEAN + OBS_STD * self.state
        return TensorDict({"joints": raw[:, :5], "base": raw[:, 5:], "hidden": self.state[:, :2]}, batch_size=[8])

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        self.state = 0.7 * self.state + 0.7 * torch.randn(8, 9)
        self.state[:, :3] += 0.1 * actions
        self.episode_length_buf += 1
        time_outs = self.episode_length_buf >= self.max_episode_length
        self.episode_length_buf[time_outs] = 0
        return self.get_observations(), -actions.square().sum(-1), time_outs.float(), {"time_outs": time_outs}


def runner_cfg(**algorithm: Any) -> dict[str, Any]:
    """Return a small configuration of TruDi for :class:`DriftEnv`; ``algorithm`` overrides its settings."""
    small = {"actor_hidden_dims": [32, 32, 32], "critic_hidden_dim": 32, "compile": "off", "num_learning_epochs": 1}
    return {
        "num_steps_per_env": 16,
        "save_interval": 100,
        "obs_groups": {"actor": ["joints", "base"], "critic": ["joints", "base", "hidden"]},
        "algorithm": {"class_name": "trudi_rsl.algorithms:TruDi"} | small | algorithm,
    }


def ppo_cfg() -> dict[str, Any]:
    """Return a small configuration of RSL-RL's PPO for :class:`DriftEnv`."""
    model = {"class_name": "MLPModel", "hidden_dims": [16, 16], "activation": "elu", "obs_normalization": True}
    gaussian = {"class_name": "GaussianDistribution", "init_std": 1.0, "std_type": "scalar"}
    return runner_cfg() | {
        "algorithm": {"class_name": "PPO"},
        "actor": model | {"distribution_cfg": gaussian},
        "critic": dict(model),
    }


def make_trained(runner_class: type, **algorithm: Any) -> Any:
    """Return a runner after two real iterations; its actor's network is then made to matter, as long training would."""
    torch.manual_seed(0)
    runner = runner_class(DriftEnv(), runner_cfg(**algorithm), log_dir=None, device="cpu")
    runner.learn(2)
    actor = runner.alg.get_policy().actor
    with torch.no_grad():
        actor.output_layer.weight.normal_(std=0.5)
        actor.output_layer.bias.normal_(std=0.5)
        if isinstance(actor, DiffusionPolicy):
            actor.raw_friction.add_(torch.tensor([0.3, -0.2, 0.1]))
    return runner


def onnx_actions(path: Path, raw: Tensor) -> Tensor:
    """Return an ONNX policy's actions `[B, A]` for raw observations `[B, O]`, given one at a time."""
    session = onnxruntime.InferenceSession(path)
    return torch.cat([torch.as_tensor(session.run(["actions"], {"obs": row[None]})[0]) for row in raw.numpy()])


def difference(actions: Tensor, expected: Tensor) -> float:
    """Return the largest difference in units of each dimension's largest action."""
    return ((actions - expected).abs() / LARGEST_ACTION).max().item()


def scaled(unit: Tensor) -> Tensor:
    """Return the simulator's actions for unit actions in [-1, 1]."""
    return DriftEnv.action_low + (DriftEnv.action_high - DriftEnv.action_low) * (unit + 1.0) / 2.0


def changed(file: Path, folder: Path, **entries: Any) -> Path:
    """Return a copy of an exported policy with other metadata; None removes an entry."""
    proto = onnx.load(file)
    kept = {e.key: e.value for e in proto.metadata_props} | {k: json.dumps(v) for k, v in entries.items()}
    onnx.helper.set_model_props(proto, {k: v for k, v in kept.items() if v != "null"})
    onnx.save(proto, folder / "changed.onnx")
    return folder / "changed.onnx"


def damaged(file: Path, folder: Path) -> Path:
    """Return a copy of an exported policy with NaN among its weights."""
    proto = onnx.load(file)
    (weights, *_) = [tensor for tensor in proto.graph.initializer if len(tensor.dims) == 2]
    values = onnx.numpy_helper.to_array(weights).copy()
    values[0, 0] = np.nan
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(proto, folder / "damaged.onnx")
    return folder / "damaged.onnx"
