# SPDX-License-Identifier: BSD-3-Clause
"""The law that each host keeps: a time limit is bootstrapped, a fall is not, also in the step of the time limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

FALLS = [0, 2]
"""Environments that fall."""
DUE = [1, 2]
"""Environments that reach their time limit."""


def check_episode_ends(env: Any, algorithm: Any, fall: Callable[[], None], keeps_last: bool) -> None:
    """Check masks and targets of a step in which environment 0 falls, 1 runs out of time, 2 does both and 3 goes on.

    Args:
        env: Four environments; those of :data:`DUE` are one step before their time limit.
        algorithm: TruDi, built for the environments.
        fall: Puts the environments of :data:`FALLS` into a state that the task terminates.
        keeps_last: Whether the host returns the true last observations of episodes.
    """
    torch.manual_seed(0)
    obs = env.get_observations()
    algorithm.train_mode()
    storage, model = algorithm.storage, algorithm.get_policy()
    with torch.inference_mode():
        actions = algorithm.act(obs)
        fall()
        obs, rewards, dones, extras = env.step(actions)
        first_rewards, next_obs = rewards.clone(), obs.clone()
        assert dones.tolist() == [1, 1, 1, 0]
        algorithm.process_env_step(obs, rewards, dones, extras)
        for _ in range(storage.num_steps - 1):
            obs, rewards, dones, extras = env.step(algorithm.act(obs))
            algorithm.process_env_step(obs, rewards, dones, extras)
        algorithm.compute_returns(obs)
    assert storage.terminated[0].tolist() == [True, False, True, False]
    assert storage.truncated[0].tolist() == [False, True, False, False]
    assert torch.equal(storage.targets[0, FALLS], first_rewards[FALLS].float())
    # without a true last observation, the step of a time limit is left out
    assert storage.target_valid[0].tolist() == [True, keeps_last, True, True]
    if keeps_last:
        following = model.actor_obs.concatenate(next_obs)
        assert not torch.allclose(storage.final_actor_obs[0, 1], following[1])
        assert storage.targets[0, 1] != first_rewards[1]
