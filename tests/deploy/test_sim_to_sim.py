# SPDX-License-Identifier: BSD-3-Clause
"""The runtime controls HalfCheetah in plain MuJoCo as PyTorch controls it in the training simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv

from tests.deploy.drift import runner_cfg
from trudi_rsl.deploy import Policy, export_policy
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.policies import DiffusionActorCritic
from trudi_rsl.runners import OnPolicyRunner

pytestmark = pytest.mark.slow

mujoco: Any = pytest.importorskip("mujoco")

NUM_STEPS, NUM_ALIKE = 60, 20
"""Contacts amplify float32 rounding, so observations are comparable only for the first steps."""


class PlainCheetah:
    """HalfCheetah-v5 in MuJoCo's own API, from positions ``[9]`` and velocities ``[9]``."""

    def __init__(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        file = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / "half_cheetah.xml"
        self.model = mujoco.MjModel.from_xml_path(str(file))
        self.data = mujoco.MjData(self.model)
        self.data.qpos[:], self.data.qvel[:] = qpos, qvel
        mujoco.mj_forward(self.model, self.data)

    def read(self) -> np.ndarray:
        """Return the observation ``[17]``."""
        return np.concatenate([self.data.qpos[1:], self.data.qvel])

    def write(self, action: np.ndarray) -> float:
        """Apply torques ``[6]`` for one control period and return HalfCheetah-v5's reward."""
        before, num_substeps = self.data.qpos[0], 5
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, num_substeps)
        velocity = (self.data.qpos[0] - before) / (num_substeps * self.model.opt.timestep)
        return velocity - 0.1 * float(np.square(action).sum())


@pytest.fixture(scope="module")
def runner() -> OnPolicyRunner:
    torch.manual_seed(0)
    cfg = runner_cfg() | {"obs_groups": {"actor": ["policy"], "critic": ["policy"]}}
    trained = OnPolicyRunner(make_env("HalfCheetah-v5", {"num_envs": 4}, seed=1), cfg, log_dir=None, device="cpu")
    trained.learn(1)
    actor_critic = trained.alg.get_policy()
    assert isinstance(actor_critic, DiffusionActorCritic)
    torch.nn.init.normal_(actor_critic.actor.output_layer.weight, std=0.3)
    return trained


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_plain_mujoco_gives_the_training_simulators_observations_and_return(
    runner: OnPolicyRunner, tmp_path: Path, seed: int
) -> None:
    original = runner.alg.get_policy()
    assert isinstance(original, DiffusionActorCritic)
    policy = Policy(export_policy(original, tmp_path, metadata={"obs_dims": {"policy": 17}}).onnx)
    env = gymnasium.make("HalfCheetah-v5").unwrapped
    assert isinstance(env, HalfCheetahEnv)
    seen, _ = env.reset(seed=seed)
    plain = PlainCheetah(env.data.qpos, env.data.qvel)

    rewards, plain_rewards, moved = [], [], []
    for step in range(NUM_STEPS):
        if step < NUM_ALIKE:
            np.testing.assert_allclose(plain.read(), seen, atol=1e-3, err_msg=f"step {step}")
        normalized = original.actor_obs.normalize(torch.as_tensor(seen, dtype=torch.float32)[None])
        action = original.deterministic_actions(normalized)[0].detach().numpy()
        seen, reward, *_ = env.step(action)
        rewards.append(float(reward))
        plain_rewards.append(plain.write(policy(plain.read())))
        moved.append(action)
    assert np.std(moved, axis=0).min() > 0.01
    assert sum(plain_rewards) == pytest.approx(sum(rewards), abs=0.05 * NUM_STEPS)
