# SPDX-License-Identifier: BSD-3-Clause
"""Tasks without velocities: the simulation of the original, and networks that remember."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import trudi_rsl.tasks  # noqa: F401  registers them
from trudi_rsl.config import compose
from trudi_rsl.config.compose import check_sequences
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

TASKS = {
    "PartialHopper-v0": "Hopper-v5",
    "PartialInvertedPendulum-v0": "InvertedPendulum-v5",
    "PartialInvertedDoublePendulum-v0": "InvertedDoublePendulum-v5",
}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_without_velocities_is_the_original_with_the_positions_alone(task: str) -> None:
    partial, original = gym.make(task), gym.make(TASKS[task])
    (shown, _), (whole, _) = partial.reset(seed=1), original.reset(seed=1)
    assert partial.observation_space.contains(shown) and partial.spec is not None and original.spec is not None
    assert partial.spec.max_episode_steps == original.spec.max_episode_steps
    original.action_space.seed(2)
    for _ in range(3):
        np.testing.assert_array_equal(shown, whole[: len(shown)])
        action = original.action_space.sample()
        (shown, *rest), (whole, *expected) = partial.step(action), original.step(action)
        assert rest[:3] == expected[:3]
    # another velocity is another state and the same observation
    simulator = original.unwrapped
    positions, velocities = simulator.data.qpos, simulator.data.qvel  # type: ignore[attr-defined]
    for env in (original, partial):
        env.unwrapped.set_state(positions, velocities + 1.0)  # type: ignore[attr-defined]
    assert not np.array_equal(simulator._get_obs(), whole)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(partial.unwrapped._get_obs()[: len(shown)], shown)  # type: ignore[attr-defined]


def test_a_resume_of_a_task_without_velocities_is_exact() -> None:
    state = GymnasiumVecEnv("PartialInvertedPendulum-v0", 2, seed=1).state_dict()
    assert state["exact"]


@pytest.mark.skipif(not PPO_MODELS, reason="the sections of RSL-RL 5")
def test_the_preset_remembers_and_another_does_not() -> None:
    task = "PartialHopper-v0"
    agent = compose(task).agent
    assert agent.algorithm.actor_encoder.class_name == agent.algorithm.critic_encoder.class_name == "RNNModel"
    assert compose(task, "ppo").agent.actor.class_name == "RNNModel"
    assert compose(task, overrides=["preset=gymnasium"]).agent.algorithm.actor_encoder is None
    with pytest.raises(ConfigError, match=r"agent\.algorithm\.num_mini_batches must be at most 4 .*lower agent\.algo"):
        check_sequences(compose(task, overrides=["env.num_envs=4"]))
