# SPDX-License-Identifier: BSD-3-Clause
"""A simulator of any size with any observation groups, and TruDi on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms import TruDi


class SmallEnv(VecEnv):
    """Random observations; rewards fall with the size of the actions; episodes end at random.

    Args:
        num_envs: E.
        num_actions: A.
        dims: Names of observation groups to their sizes.
    """

    task = "Small-v0"

    def __init__(self, num_envs: int, num_actions: int, dims: Mapping[str, int]) -> None:
        self.num_envs, self.num_actions, self.dims = num_envs, num_actions, dict(dims)
        self.max_episode_length, self.device, self.cfg = 10, "cpu", {}
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        self.action_low, self.action_high = torch.full((num_actions,), -2.0), torch.full((num_actions,), 3.0)

    def get_observations(self) -> TensorDict:
        groups = {name: 5.0 * torch.randn(self.num_envs, dim) for name, dim in self.dims.items()}
        return TensorDict(groups, batch_size=[self.num_envs])  # pyright: ignore[reportArgumentType]

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        dones = torch.rand(self.num_envs) < 0.3
        time_outs = dones & (torch.rand(self.num_envs) < 0.5)
        extras = {"time_outs": time_outs, "final_obs": self.get_observations()}
        return self.get_observations(), -actions.square().sum(-1), dones.float(), extras


def make(
    env: SmallEnv, num_steps: int, settings: Mapping[str, Any], actor: Sequence[str], critic: Sequence[str]
) -> TruDi:
    """Return TruDi as a runner makes it."""
    cfg = {
        "num_steps_per_env": num_steps,
        "obs_groups": {"actor": list(actor), "critic": list(critic)},
        "algorithm": dict(settings),
    }
    return TruDi.construct_algorithm(env.get_observations(), env, cfg, "cpu")


def iteration(algorithm: TruDi, env: SmallEnv, num_steps: int) -> dict[str, float]:
    """Collect a rollout, learn from it, and return what is logged."""
    algorithm.train_mode()
    obs = env.get_observations()
    with torch.inference_mode():
        for _ in range(num_steps):
            obs, rewards, dones, extras = env.step(algorithm.act(obs))
            algorithm.process_env_step(obs, rewards, dones, extras)
        algorithm.compute_returns(obs)
    return algorithm.update()
