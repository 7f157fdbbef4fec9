# SPDX-License-Identifier: BSD-3-Clause
"""Loading a saved state into a new environment continues bitwise as without the interruption."""

from __future__ import annotations

import io
import warnings
from typing import Any

import pytest
import torch

from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv

REMEMBERING = "tests.hosts.gymnasium_tasks:trudi-tests/RememberingCheetah-v0"


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """Return ``state`` after saving and loading it as a checkpoint, without unpickling objects."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def record(env: GymnasiumVecEnv, actions: torch.Tensor) -> list[Any]:
    """Return all outputs of the environment for ``actions`` as lists, which compare bitwise."""
    outputs = []
    for action in actions:
        obs, rewards, dones, extras = env.step(action)
        final = extras["final_obs"]["policy"].tolist() if "final_obs" in extras else None
        outputs.append((obs["policy"].tolist(), rewards.tolist(), dones.tolist(), final, extras.get("log")))
        outputs.append((extras["time_outs"].tolist(), env.episode_length_buf.tolist()))
    return outputs


@pytest.mark.parametrize(
    "task",
    [
        *("HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "HumanoidStandup-v5", "Hopper-v5", "Walker2d-v5", "Swimmer-v5"),
        *("InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Reacher-v5", "Pusher-v5", REMEMBERING),
    ],
)
def test_a_resumed_mujoco_task_continues_bitwise(task: str) -> None:
    env = GymnasiumVecEnv(task, 2, seed=1, max_episode_steps=20)
    env.episode_length_buf = torch.tensor([0, 7])
    # The saved step is inside the second episode of environment 1; both environments reset again after it.
    actions = env.action_low + (env.action_high - env.action_low) * torch.rand(46, 2, env.num_actions)
    for action in actions[:16]:
        env.step(action)
    saved = through_a_file(env.state_dict())
    never_stopped = record(env, actions[16:])

    resumed = GymnasiumVecEnv(task, 2, seed=99, max_episode_steps=20)
    for action in actions[:3]:
        resumed.step(action)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.load_state_dict(saved)
    assert torch.equal(resumed.get_observations()["policy"], saved["observations"])
    assert record(resumed, actions[16:]) == never_stopped


def test_a_resumed_run_keeps_its_own_env_options() -> None:
    saved = GymnasiumVecEnv(REMEMBERING, 1, env_kwargs={"bonus": 1.0}).state_dict()
    env = GymnasiumVecEnv(REMEMBERING, 1, env_kwargs={"bonus": 5.0})
    env.load_state_dict(saved)
    assert env.unwrapped.envs[0].unwrapped.bonus == 5.0


def test_sampling_from_the_action_spaces_resumes_too() -> None:
    env, other = GymnasiumVecEnv("HalfCheetah-v5", 2, seed=0), GymnasiumVecEnv("HalfCheetah-v5", 2, seed=5)
    env.unwrapped.action_space.sample()
    other.load_state_dict(through_a_file(env.state_dict()))
    assert (env.unwrapped.action_space.sample() == other.unwrapped.action_space.sample()).all()
    assert (env.unwrapped.envs[1].action_space.sample() == other.unwrapped.envs[1].action_space.sample()).all()


def test_a_state_that_cannot_be_restored_starts_new_episodes_with_one_warning() -> None:
    env = GymnasiumVecEnv("Pendulum-v1", 2)
    for _ in range(5):
        env.step(torch.zeros(2, 1))
    saved = env.state_dict()
    assert saved["exact"] is False
    resumed = GymnasiumVecEnv("Pendulum-v1", 2, seed=9)
    resumed.step(torch.zeros(2, 1))
    with pytest.warns(UserWarning, match="Pendulum-v1 starts new episodes") as caught:
        resumed.load_state_dict(through_a_file(saved))
    assert len(caught) == 1
    assert resumed.episode_length_buf.tolist() == [0, 0]
    # The random generators are restored, so the new episodes are those that the saved run would have begun.
    assert torch.equal(resumed.get_observations()["policy"], env.reset()[0]["policy"])
    more = GymnasiumVecEnv("Pendulum-v1", 3)
    more.step(torch.zeros(3, 1))
    with pytest.warns(UserWarning, match="of 2 environments, not 3"):
        more.load_state_dict(saved)
    assert more.episode_length_buf.tolist() == [0, 0, 0]
