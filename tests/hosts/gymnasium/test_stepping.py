# SPDX-License-Identifier: BSD-3-Clause
"""GymnasiumVecEnv.step: observations, ends of episodes, actions and statistics."""

from __future__ import annotations

import importlib
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from rsl_rl.runners import OnPolicyRunner as RslRlOnPolicyRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.deploy.drift import ppo_cfg
from trudi_rsl.hosts.gymnasium.env import NO_TIME_LIMIT, EnvCfg, GymnasiumVecEnv

CLOCK = "tests.hosts.gymnasium_tasks:trudi-tests/Clock-v0"


def actions_for(env: GymnasiumVecEnv, steps: int) -> torch.Tensor:
    """Return random actions ``[steps, E, A]`` inside the bounds."""
    span = env.action_high - env.action_low
    return env.action_low + span * torch.rand(steps, env.num_envs, env.num_actions)


@pytest.mark.parametrize("task", ["Hopper-v5", "HalfCheetah-v5"])
def test_every_output_equals_plain_gymnasium_with_the_same_seed_and_actions(task: str) -> None:
    env = GymnasiumVecEnv(task, 2, seed=7, max_episode_steps=30)
    plain = [gym.make(task, max_episode_steps=30) for _ in range(2)]
    expected = np.stack([p.reset(seed=7 + i)[0] for i, p in enumerate(plain)])
    actions = actions_for(env, 70)
    ended = {"terminated": 0, "truncated": 0}
    torch.testing.assert_close(env.get_observations()["policy"], torch.tensor(expected, dtype=torch.float32))
    for action in actions:
        obs, rewards, dones, extras = env.step(action)
        for i, p in enumerate(plain):
            last, reward, terminated, truncated, _ = p.step(action[i].numpy())
            assert rewards[i] == np.float32(reward)
            assert bool(dones[i]) == (terminated or truncated)
            assert bool(extras["time_outs"][i]) == (truncated and not terminated)
            if terminated or truncated:
                ended["terminated" if terminated else "truncated"] += 1
                np.testing.assert_array_equal(extras["final_obs"]["policy"][i], last.astype(np.float32))
                last, _ = p.reset()
            elif "final_obs" in extras:
                assert torch.equal(extras["final_obs"]["policy"][i], obs["policy"][i])
            np.testing.assert_array_equal(obs["policy"][i], last.astype(np.float32))
        assert ("final_obs" in extras) == ("log" in extras) == bool(dones.any())
    assert ended["terminated"] > 0 if task == "Hopper-v5" else ended == {"terminated": 0, "truncated": 4}


def test_rsl_rls_own_runner_trains_ppo_and_logs_the_episodes(tmp_path: Path) -> None:
    env = GymnasiumVecEnv("HalfCheetah-v5", 4, max_episode_steps=10)
    runner: Any = RslRlOnPolicyRunner(
        env, ppo_cfg() | {"obs_groups": {"actor": ["policy"], "critic": ["policy"]}}, str(tmp_path), "cpu"
    )
    before = [parameter.clone() for parameter in runner.alg.actor.parameters()]
    runner.learn(1, init_at_random_ep_len=True)
    assert not all(map(torch.equal, before, runner.alg.actor.parameters()))
    runner.logger.writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {"Episode/return", "Episode/length", "Train/mean_reward"} <= set(events.Tags()["scalars"])


@pytest.mark.parametrize("one_buffer", [False, True])
def test_a_termination_at_the_time_limit_is_no_time_out_and_has_a_final_obs(one_buffer: bool) -> None:
    env = GymnasiumVecEnv(CLOCK, 2, max_episode_steps=2, env_kwargs={"length": 2, "one_buffer": one_buffer})
    env.step(torch.zeros(2, 2))
    obs, _, dones, extras = env.step(torch.zeros(2, 2))
    assert (dones.tolist(), extras["time_outs"].tolist()) == ([1, 1], [False, False])
    assert extras["final_obs"]["policy"][:, 0].tolist() == [2, 2]
    assert obs["policy"][:, 0].tolist() == [0, 0]


def test_later_steps_do_not_change_returned_tensors() -> None:
    env = GymnasiumVecEnv("HalfCheetah-v5", 2, max_episode_steps=2)
    returned = [env.get_observations()["policy"], env.episode_length_buf]
    for action in actions_for(env, 2):
        obs, rewards, dones, extras = env.step(action)
        returned += [obs["policy"], rewards, dones, extras["time_outs"]]
        returned += [extras["final_obs"]["policy"]] if "final_obs" in extras else []
    assert len(returned) == 2 + 2 * 4 + 1
    before = [tensor.clone() for tensor in returned]
    for action in actions_for(env, 3):
        env.step(action)
    assert all(torch.equal(a, b) for a, b in zip(returned, before, strict=True))


def test_shapes_dtypes_and_cfg_are_those_that_rsl_rl_expects() -> None:
    env = GymnasiumVecEnv("HalfCheetah-v5", 3)
    obs, rewards, dones, extras = env.step(torch.zeros(3, 6))
    assert (obs.batch_size, obs["policy"].shape, obs["policy"].dtype) == ((3,), (3, 17), torch.float32)
    assert (rewards.shape, rewards.dtype) == ((3,), torch.float32)
    assert (dones.shape, dones.dtype) == ((3,), torch.long)
    assert (extras["time_outs"].shape, extras["time_outs"].dtype) == ((3,), torch.bool)
    assert (env.num_envs, env.num_actions, env.max_episode_length) == (3, 6, 1000)
    assert isinstance(env.cfg, EnvCfg)
    stored = env.cfg.to_dict()
    assert type(stored) is dict
    assert (stored["task"], stored["num_envs"], stored["env_kwargs"]) == ("HalfCheetah-v5", 3, {})


def test_actions_are_clipped_to_the_box_and_given_bounds_apply_only_where_it_has_none() -> None:
    humanoid = GymnasiumVecEnv("Humanoid-v5", 1)
    torch.testing.assert_close(torch.stack([-humanoid.action_low, humanoid.action_high]), torch.full((2, 17), 0.4))
    space = gym.spaces.Box(np.array([-0.5, -np.inf], np.float32), np.array([0.5, np.inf], np.float32))
    env = GymnasiumVecEnv(CLOCK, 1, env_kwargs={"action_space": space}, action_bounds=(-2.0, 3.0))
    assert (env.action_low.tolist(), env.action_high.tolist()) == ([-0.5, -2.0], [0.5, 3.0])
    env.step(torch.tensor([[9.0, 9.0]]))
    np.testing.assert_array_equal(env.unwrapped.envs[0].unwrapped.actions[0], [0.5, 3.0])


def test_episode_statistics_equal_a_hand_summed_episode() -> None:
    env = GymnasiumVecEnv("Hopper-v5", 2, max_episode_steps=50)
    sums, compared = torch.zeros(2, 2, dtype=torch.float64), 0
    for action in actions_for(env, 120):
        _, rewards, dones, extras = env.step(action)
        sums += torch.stack([rewards, torch.ones(2)])
        ended = dones.bool()
        if ended.any():
            compared += 1
            logged = [extras["log"][f"Episode/{name}"] for name in ("return", "length")]
            assert logged == pytest.approx(sums[:, ended].mean(1).tolist(), rel=1e-5)
        sums[:, ended] = 0
    assert compared > 2


def test_random_initial_lengths_end_the_first_episodes_at_different_steps() -> None:
    env = GymnasiumVecEnv("HalfCheetah-v5", 3, max_episode_steps=10)
    env.episode_length_buf = torch.tensor([9, 0, 5])
    ends = []
    for step in range(1, 16):
        _, _, dones, extras = env.step(torch.zeros(3, 6))
        assert torch.equal(extras["time_outs"], dones.bool())
        ends += [(step, i, extras["log"]["Episode/length"]) for i in dones.nonzero().flatten().tolist()]
    assert ends == [(1, 0, 1), (5, 2, 5), (10, 1, 10), (11, 0, 10), (15, 2, 10)]
    assert env.episode_length_buf.tolist() == [4, 5, 0]


def test_a_task_without_time_limit_has_a_finite_max_episode_length() -> None:
    env = GymnasiumVecEnv(CLOCK, 2)
    assert env.max_episode_length == NO_TIME_LIMIT
    env.episode_length_buf = torch.randint_like(env.episode_length_buf, high=int(env.max_episode_length))
    _, _, dones, _ = env.step(torch.zeros(2, 2))
    assert dones.tolist() == [0, 0]


def test_a_seed_determines_the_episodes() -> None:
    env = GymnasiumVecEnv("HalfCheetah-v5", 2, seed=3)
    first = env.get_observations()["policy"]
    env.step(torch.ones(2, 6))
    assert env.seed(3) == 3
    assert torch.equal(env.get_observations()["policy"], first)
    env.seed(4)
    second = env.get_observations()["policy"]
    assert torch.equal(second[0], first[1]) and not torch.equal(second[1], first[0])


def test_a_reset_starts_new_episodes_everywhere() -> None:
    env = GymnasiumVecEnv(CLOCK, 2, env_kwargs={"length": 4})
    for _ in range(3):
        env.step(torch.zeros(2, 2))
    obs, extras = env.reset()
    assert (obs["policy"][:, 0].tolist(), env.episode_length_buf.tolist(), extras) == ([0, 0], [0, 0], {})
    logs = [env.step(torch.zeros(2, 2))[3].get("log") for _ in range(4)]
    assert logs == [None, None, None, {"Episode/return": 10.0, "Episode/length": 4.0}]


def test_render_returns_the_current_frame_of_environment_0_only() -> None:
    env = GymnasiumVecEnv(CLOCK, 2, render_mode="rgb_array")
    env.step(torch.zeros(2, 2))
    np.testing.assert_array_equal(env.render(), np.ones((4, 6, 3), np.uint8))
    assert [e.render_mode for e in env.unwrapped.envs] == ["rgb_array", None]


@pytest.mark.skipif(find_library("EGL") is None, reason="needs the EGL library")
def test_mujoco_renders_on_a_machine_without_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    env = GymnasiumVecEnv("HalfCheetah-v5", 2, render_mode="rgb_array")
    frame = env.render()
    assert frame.shape == (480, 480, 3) and frame.std() > 0


def test_mujocos_warnings_about_a_model_appear_once_not_per_environment() -> None:
    messages: list[str] = []
    mujoco: Any = importlib.import_module("mujoco")  # whose stubs leave these functions out
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(messages.append)
    try:
        gym.make("HalfCheetah-v5")
        of_one = list(messages)
        GymnasiumVecEnv("HalfCheetah-v5", 4)
        gym.make("HalfCheetah-v5")
        assert messages == 3 * of_one
    finally:
        mujoco.set_mju_user_warning(previous)
