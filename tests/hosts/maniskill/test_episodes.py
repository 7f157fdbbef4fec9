# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Steps, seeds and actions are ManiSkill's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from mani_skill.utils.registration import REGISTERED_ENVS
from rsl_rl.runners import OnPolicyRunner as RslRlOnPolicyRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.deploy.drift import ppo_cfg
from tests.hosts.maniskill.scripted import actions_for
from trudi_rsl.hosts.maniskill.env import ManiSkillVecEnv, episode_seed
from trudi_rsl.hosts.maniskill.make import TaskOptions
from trudi_rsl.hosts.maniskill.simulations import GpuSimulation

PUSH = "PushCube-v1"


@pytest.mark.parametrize(
    ("task", "num_obs", "num_actions", "limit", "reward_mode"),
    [
        (PUSH, 35, 8, 50, "normalized_dense"),
        ("StackCube-v1", 48, 8, 50, "normalized_dense"),
        ("PushT-v1", 31, 7, 100, "normalized_dense"),
        ("TwoRobotPickCube-v1", 66, 16, 100, "normalized_dense"),
        ("PlugCharger-v1", 46, 8, 200, "sparse"),
    ],
)
def test_every_output_equals_plain_maniskill_with_the_same_seeds_and_actions(
    task: str, num_obs: int, num_actions: int, limit: int, reward_mode: str
) -> None:
    env = ManiSkillVecEnv(task, 2, seed=7, max_episode_steps=4)
    assert env.get_observations()["policy"].shape == (2, num_obs)
    cfg: Any = env.cfg
    assert (env.num_actions, cfg["reward_mode"], env.step_dt) == (num_actions, reward_mode, 0.05)
    plain: Any = gym.make(
        task, obs_mode="state", render_backend="cpu", sim_backend="physx_cpu", reward_mode=reward_mode
    )
    assert REGISTERED_ENVS[task].max_episode_steps == limit
    actions = actions_for(env, 6)
    space = plain.action_space
    spaces: dict[str, Any] = space.spaces if isinstance(space, gym.spaces.Dict) else {"": space}
    expected, _ = plain.reset(seed=episode_seed(8, 0))
    torch.testing.assert_close(env.get_observations()["policy"][1], expected[0], rtol=0.0, atol=0.0)
    for step, action in enumerate(actions, start=1):
        obs, rewards, dones, extras = env.step(action)
        parts = torch.split(action[1], [part.shape[-1] for part in spaces.values()])  # the robots in their names' order
        by_robot = {name: part.numpy() for name, part in zip(sorted(spaces), parts, strict=True)}
        last, reward, terminated, _, info = plain.step(by_robot.get("", by_robot))
        assert not terminated and not info["success"], "choose other actions"
        assert rewards[1] == reward.float()
        assert bool(dones[1]) == bool(extras["time_outs"][1]) == (step == 4)
        if dones[1]:
            assert torch.equal(extras["final_obs"]["policy"][1], last[0])
            last, _ = plain.reset(seed=episode_seed(8, 1))
        assert torch.equal(obs["policy"][1], last[0])


def test_a_seed_determines_the_episodes_of_each_environment_and_nothing_else_does() -> None:
    env = ManiSkillVecEnv(PUSH, 2, seed=3, max_episode_steps=3)
    first = env.get_observations()["policy"]
    generator = torch.get_rng_state()
    env.step(torch.zeros(2, 8))
    env.episode_length_buf = torch.tensor([0, 2])
    second = env.step(torch.ones(2, 8))[0]["policy"][1]  # the second episode of environment 1 begins
    assert torch.equal(torch.get_rng_state(), generator)
    assert not torch.equal(second, first[1])
    assert env.seed(3) == 3
    assert torch.equal(env.get_observations()["policy"], first)
    env.seed(4)
    assert torch.equal(env.get_observations()["policy"][0], first[1])
    assert torch.equal(env.reset()[0]["policy"][0], second)


def test_later_steps_do_not_change_returned_tensors() -> None:
    env = ManiSkillVecEnv(PUSH, 2, max_episode_steps=2)
    returned = [env.get_observations()["policy"], env.episode_length_buf]
    for action in actions_for(env, 2):
        obs, rewards, dones, extras = env.step(action)
        returned += [obs["policy"], rewards, dones, extras["time_outs"]]
        returned += [extras["final_obs"]["policy"], extras["success"]] if dones.any() else []
    assert len(returned) == 2 + 2 * 4 + 2
    before = [tensor.clone() for tensor in returned]
    for action in actions_for(env, 3):
        env.step(action)
    assert all(torch.equal(a, b) for a, b in zip(returned, before, strict=True))


def test_actions_are_clipped_to_the_controllers_bounds() -> None:
    env, other = (ManiSkillVecEnv(PUSH, 1, seed=1) for _ in range(2))
    assert (env.action_low.tolist(), env.action_high.tolist()) == ([-1.0] * 8, [1.0] * 8)
    beyond = env.step(torch.full((1, 8), 9.0))[0]["policy"]
    assert torch.equal(beyond, other.step(torch.ones(1, 8))[0]["policy"])
    position = ManiSkillVecEnv(PUSH, 1, control_mode="pd_joint_pos")
    assert (position.action_low < -1.0).any() and (position.action_low < position.action_high).all()


def test_rsl_rls_own_runner_trains_ppo_and_logs_success(tmp_path: Path) -> None:
    env = ManiSkillVecEnv(PUSH, 4, max_episode_steps=6)
    cfg = ppo_cfg() | {"obs_groups": {"actor": ["policy"], "critic": ["policy"]}}
    runner: Any = RslRlOnPolicyRunner(env, cfg, str(tmp_path), "cpu")
    before = [parameter.clone() for parameter in runner.alg.actor.parameters()]
    runner.learn(1, init_at_random_ep_len=True)
    assert not all(map(torch.equal, before, runner.alg.actor.parameters()))
    runner.logger.writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {"Episode/return", "Episode/length", "Episode/success"} <= set(events.Tags()["scalars"])


def test_the_simulation_for_gpus_steps_and_starts_episodes_as_the_one_for_cpus() -> None:
    options = TaskOptions(PUSH, "physx_cpu").checked()
    env, batched = ManiSkillVecEnv(PUSH, 1, seed=5), GpuSimulation(options, 1)
    assert torch.equal(batched.reset([0], [episode_seed(5, 0)]), env.get_observations()["policy"])
    for action in actions_for(env, 2):
        step = batched.step(action)
        obs, rewards, _, _ = env.step(action)
        assert torch.equal(step.obs, obs["policy"]) and torch.equal(step.rewards, rewards)
    batched.set_lengths([49])
    assert batched.step(torch.zeros(1, 8)).truncated.tolist() == [True]
