# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""A velocity task of mjlab whose own configuration has recurrent networks trains, resumes and is exported."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from mjlab.envs import ManagerBasedRlEnv
from mjlab.rl import RslRlVecEnvWrapper
from mjlab.tasks import registry
from mjlab.tasks.velocity.rl import VelocityOnPolicyRunner

from tests.hosts.mjlab.running import onnx_metadata
from tests.hosts.shared import equal, learned
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.hosts.mjlab.registration import SUFFIX

pytestmark = pytest.mark.slow

STOCK, TASK = "Mjlab-Velocity-Flat-Unitree-Go1", "Project-Velocity-Flat-Unitree-Go1-Recurrent"
NUM_ENVS = 4


@pytest.fixture(scope="module")
def env() -> Iterator[RslRlVecEnvWrapper]:
    """Four flat Go1s."""
    cfg = registry.load_env_cfg(STOCK)
    cfg.scene.num_envs, cfg.seed = NUM_ENVS, 0
    env = RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg, "cpu"))
    yield env
    env.close()


def configuration() -> dict[str, Any]:
    """Register the stock task with recurrent networks, as a project would, and return its sibling's settings."""
    ppo = registry.load_rl_cfg(STOCK)
    for model, kind in ((ppo.actor, "lstm"), (ppo.critic, "gru")):
        model.class_name, model.rnn_type, model.rnn_hidden_dim = "RNNModel", kind, 32
    cfgs = [registry.load_env_cfg(STOCK, play=play) for play in (False, True)]
    registry.register_mjlab_task(TASK, *cfgs, ppo, VelocityOnPolicyRunner)
    trudi: Any = registry.load_rl_cfg(TASK + SUFFIX)
    small = {"num_mini_batches": 2, "num_learning_epochs": 1, "actor_hidden_dims": (16, 16), "critic_hidden_dim": 16}
    trudi.algorithm = dataclasses.replace(trudi.algorithm, compile="off", **small)
    trudi = dataclasses.replace(trudi, num_steps_per_env=8, save_interval=1, logger="tensorboard")
    return dataclasses.asdict(trudi) | {"upload_model": False}


def test_it_trains_with_memory_resumes_bitwise_and_is_exported_with_metadata_and_its_state(
    env: RslRlVecEnvWrapper, tmp_path: Path
) -> None:
    cfg = configuration()
    runner_class: Any = registry.load_runner_cls(TASK + SUFFIX)
    assert issubclass(runner_class, VelocityOnPolicyRunner)
    trained = runner_class(env, copy.deepcopy(cfg), str(tmp_path), "cpu")
    trained.learn(2)
    before = learned(trained)
    shapes = {name: tuple(value.shape) for name, value in before.items() if name.startswith("memory")}
    assert shapes == {"memory of the actor": (2, 1, NUM_ENVS, 32), "memory of the critic": (1, 1, NUM_ENVS, 32)}
    assert all(before[name].any(-1).all() for name in shapes)
    saved = read_checkpoint(tmp_path / "model_1.pt")
    assert saved["trudi_rsl"]["task"] == TASK

    torch.manual_seed(1)
    resumed = runner_class(env, copy.deepcopy(cfg), None, "cpu")
    assert not equal(learned(resumed), before)
    resumed.load(str(tmp_path / "model_1.pt"))
    trained.alg.memory.reset(torch.ones(NUM_ENVS, dtype=torch.bool))
    assert equal(learned(resumed), learned(trained))
    swings = env.unwrapped.reward_manager.get_term_cfg("foot_swing_height").func
    for runner in (trained, resumed):
        env.seed(0)
        env.reset()
        swings.peak_heights = torch.zeros_like(swings.peak_heights)  # which mjlab 1.6 keeps over resets
        runner.learn(1)
    assert equal(learned(resumed), learned(trained)) and not equal(learned(resumed), before)

    file = tmp_path / f"{tmp_path.name}.onnx"
    assert "joint_names" in onnx_metadata(file)
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == ["obs", "h_in", "c_in"]
    obs = env.get_observations()["actor"][:1]
    inputs = {node.name: np.zeros(node.shape, np.float32) for node in session.get_inputs()} | {"obs": obs.numpy()}
    model = resumed.alg.get_policy().as_onnx(verbose=False).eval()
    for _ in range(2):
        expected = model(obs, *(torch.as_tensor(inputs[name]) for name in ("h_in", "c_in")))
        outputs = list(map(np.asarray, session.run(None, inputs)))
        for ours, theirs in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-5)
        inputs |= dict(zip(("h_in", "c_in"), outputs[1:], strict=True))
    assert all(inputs[name].any() for name in ("h_in", "c_in"))
