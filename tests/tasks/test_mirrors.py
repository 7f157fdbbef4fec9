# SPDX-License-Identifier: BSD-3-Clause
"""The mirror images of tasks are those of their simulators, and their own inverses."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tensordict import TensorDict

from trudi_rsl.errors import ConfigError
from trudi_rsl.tasks import mirrors
from trudi_rsl.tasks.planar_obstacle import PlanarObstacleEnv


def mirrored(function: Any, obs: NDArray[Any]) -> NDArray[Any]:
    """Return the image of an observation, which follows the original."""
    original, image = function(None, TensorDict({"policy": torch.tensor(obs)[None]}, [1]), None)[0]["policy"].numpy()
    np.testing.assert_array_equal(original, obs)
    return image


def mirrored_action(function: Any, action: NDArray[Any]) -> NDArray[Any]:
    """Return the image of an action, which follows the original."""
    original, image = function(None, None, torch.tensor(action)[None])[1].numpy()
    np.testing.assert_array_equal(original, action)
    return image


@pytest.mark.parametrize("contact_forces", [True, False])
def test_a_mirrored_ant_takes_mirrored_steps_for_the_same_reward(contact_forces: bool) -> None:
    env, image = (gym.make("Ant-v5", include_cfrc_ext_in_observation=contact_forces) for _ in range(2))
    obs, _ = env.reset(seed=0)
    image.reset(seed=0)
    state: Any = env.unwrapped
    place, start = state.data.qpos[:2] * (1.0, -1.0), mirrored(mirrors.ant, obs)
    image.unwrapped.set_state(np.concatenate([place, start[:13]]), start[13:27])  # pyright: ignore
    noise, forces = np.random.default_rng(0), 0.0
    for _ in range(40):
        action = noise.uniform(-1.0, 1.0, 8).astype(np.float32)
        obs, reward, *_ = env.step(action)
        seen, same, *_ = image.step(mirrored_action(mirrors.ant, action))
        np.testing.assert_allclose(seen, mirrored(mirrors.ant, obs), atol=1e-9)
        assert reward == pytest.approx(same, abs=1e-9)
        forces = max(forces, np.abs(obs[27:]).max(initial=0.0))
    assert forces > 0.0 or not contact_forces, "the feet touched the ground"


def test_a_mirrored_point_takes_mirrored_steps_for_the_same_reward() -> None:
    env, image = PlanarObstacleEnv(fixed_start=True), PlanarObstacleEnv(fixed_start=True)
    env.reset(seed=0)
    image.reset(seed=0)
    noise = np.random.default_rng(0)
    for _ in range(5):
        action = noise.uniform(-1.0, 1.0, 2).astype(np.float32)
        obs, reward, *_ = env.step(action)
        seen, same, *_ = image.step(mirrored_action(mirrors.planar_obstacle, action))
        np.testing.assert_array_equal(seen, mirrored(mirrors.planar_obstacle, obs))
        assert reward == same


@pytest.mark.parametrize(
    ("function", "num_obs", "num_actions"), [(mirrors.ant, 105, 8), (mirrors.planar_obstacle, 2, 2)]
)
def test_mirrored_twice_is_the_identity_and_once_is_not(function: Any, num_obs: int, num_actions: int) -> None:
    obs, action = np.arange(1.0, num_obs + 1.0), np.arange(1.0, num_actions + 1.0)
    np.testing.assert_array_equal(mirrored(function, mirrored(function, obs)), obs)
    np.testing.assert_array_equal(mirrored_action(function, mirrored_action(function, action)), action)
    assert not np.array_equal(mirrored(function, obs), obs)
    assert not np.array_equal(mirrored_action(function, action), action)


@pytest.mark.parametrize(
    ("function", "task"), [(mirrors.ant, "Ant-v5"), (mirrors.planar_obstacle, "PlanarObstacle-v0")]
)
def test_a_function_of_another_task_names_its_own_and_both_sizes(function: Any, task: str) -> None:
    with pytest.raises(ConfigError, match=rf"{task}, whose observations have .* here they have the shape \[11\]"):
        mirrored(function, np.zeros(11))
    with pytest.raises(ConfigError, match=rf"{task}, whose actions have . entries; here they have the shape \[3\]"):
        mirrored_action(function, np.zeros(3))
