# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""The runtime controls mjlab's cartpole in plain MuJoCo, from the compiled model alone, as mjlab does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch
from mjlab.envs import ManagerBasedRlEnv
from mjlab.rl import RslRlVecEnvWrapper
from mjlab.tasks.registry import load_env_cfg

from tests.deploy.drift import runner_cfg
from tests.hosts.mjlab.running import CARTPOLE
from trudi_rsl.deploy import Policy, export_checkpoint
from trudi_rsl.policies import DiffusionActorCritic
from trudi_rsl.runners import OnPolicyRunner


class PlainCartpole:
    """MuJoCo in double precision, with nothing of mjlab but the compiled model."""

    def __init__(self, file: Path, qpos: np.ndarray, qvel: np.ndarray, period_s: float) -> None:
        self.model: Any = mujoco.MjModel.from_binary_path(str(file))  # pyright: ignore[reportAttributeAccessIssue]
        self.data: Any = mujoco.MjData(self.model)  # pyright: ignore[reportAttributeAccessIssue]
        self.data.qpos[:], self.data.qvel[:] = qpos, qvel
        self.num_substeps = round(period_s / self.model.opt.timestep)

    def read(self, default: dict[str, float]) -> dict[str, np.ndarray]:
        (slider, hinge), (slider_vel, hinge_vel) = self.data.qpos, self.data.qvel
        return {
            "cart_pos": np.array([slider - default["slider"]]),
            "pole_angle": np.array([np.cos(hinge), np.sin(hinge)]),
            "cart_vel": np.array([slider_vel]),
            "pole_vel": np.array([hinge_vel]),
        }

    def write(self, effort: float) -> None:
        self.data.ctrl[:] = effort
        mujoco.mj_step(self.model, self.data, self.num_substeps)  # pyright: ignore[reportAttributeAccessIssue]

    def reward(self, control: float) -> float:
        """The task's reward per second: upright * centred * small control * slow."""

        def tolerance(x: float, margin: float) -> float:
            return float(np.exp(np.log(0.1) * (x / margin) ** 2))

        (slider, hinge), (_, hinge_vel) = self.data.qpos, self.data.qvel
        small = max(0.0, 1.0 - 0.9 * control**2)
        upright, centred = (1 + np.cos(hinge)) / 2, (1 + tolerance(slider, 2.0)) / 2
        return upright * centred * (4 + small) / 5 * (1 + tolerance(hinge_vel, 5.0)) / 2


@pytest.fixture(scope="module")
def env() -> RslRlVecEnvWrapper:
    cfg = load_env_cfg(CARTPOLE, play=True)
    cfg.seed = 0
    return RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg, "cpu"))


@pytest.fixture(scope="module")
def runner(env: RslRlVecEnvWrapper) -> OnPolicyRunner:
    torch.manual_seed(0)
    cfg = runner_cfg() | {"obs_groups": {"actor": ["actor"], "critic": ["critic"]}}
    trained = OnPolicyRunner(env, cfg, None, "cpu")
    trained.learn(2)
    actor_critic = trained.alg.get_policy()
    assert isinstance(actor_critic, DiffusionActorCritic)
    torch.nn.init.normal_(actor_critic.actor.output_layer.weight, std=0.3)
    return trained


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_plain_mujoco_gives_mjlabs_observations_and_return(
    env: RslRlVecEnvWrapper, runner: OnPolicyRunner, tmp_path: Path, seed: int
) -> None:
    base, original = env.unwrapped, runner.alg.get_policy()
    runner.save(str(tmp_path / "model_0.pt"))
    policy = Policy(export_checkpoint(tmp_path / "model_0.pt").onnx)
    contract = policy.contract
    assert contract.control_period_s is not None and contract.robot is not None
    assert contract.robot.default_joint_pos is not None
    default = dict(zip(contract.robot.joint_names, contract.robot.default_joint_pos.tolist(), strict=True))

    torch.manual_seed(seed)
    obs, _ = env.reset()
    mujoco.mj_saveModel(base.sim.mj_model, str(tmp_path / "cartpole.mjb"))  # pyright: ignore[reportAttributeAccessIssue]
    qpos, qvel = (value[0].numpy() for value in (base.sim.data.qpos, base.sim.data.qvel))
    plain = PlainCartpole(tmp_path / "cartpole.mjb", qpos, qvel, contract.control_period_s)

    rewards, plain_rewards, efforts = [], [], []
    for step in range(80):  # four seconds, in which the pole swings
        seen = plain.read(default)
        whole = np.concatenate([seen[term.name] for term in contract.terms])
        np.testing.assert_allclose(whole, obs["actor"][0].numpy(), atol=2e-2, err_msg=f"step {step}")
        obs, reward, *_ = env.step(original(obs).detach())
        action = policy(seen)
        plain.write(policy.joint_commands(action)["slider"])
        rewards.append(float(reward))
        plain_rewards.append(plain.reward(float(action[0])) * contract.control_period_s)
        efforts.append(float(action[0]))
    assert np.std(efforts) > 0.1, "the policy must act on what it sees"
    assert sum(plain_rewards) == pytest.approx(sum(rewards), rel=0.02)
