# SPDX-License-Identifier: BSD-3-Clause
"""Batched point masses in the plane as a host of trudi_rsl."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.config.schema import EnvCfg
from trudi_rsl.hosts.host import EnvironmentHost


@dataclass
class PointMassEnvCfg(EnvCfg):
    """The ``env`` section: ``env.drag=0.5`` on the command line."""

    drag: float = 0.2
    """Share of its velocity that a mass loses per second, at least 0."""


class PointMassEnv(VecEnv):
    """E point masses that a force in [-1, 1]^2 must bring to the origin; the reward of a step is minus the distance."""

    num_actions, max_episode_length, step_dt = 2, 100, 0.05

    def __init__(self, cfg: PointMassEnvCfg, device: torch.device | str, seed: int) -> None:
        self.num_envs, self.device, self.cfg, self._settings = cfg.num_envs, device, vars(cfg), cfg
        self.action_low, self.action_high = -torch.ones(2, device=device), torch.ones(2, device=device)
        self._generator = torch.Generator(device).manual_seed(seed)
        self.reset()

    def reset(self) -> tuple[TensorDict, dict[str, Any]]:
        """Start new episodes in all environments."""
        self._state = self._starts()
        self.episode_length_buf = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        return self.get_observations(), {}

    def _starts(self) -> Tensor:
        position = 2.0 * torch.rand(self.num_envs, 2, generator=self._generator, device=self.device) - 1.0
        return torch.cat([position, torch.zeros_like(position)], dim=1)

    def get_observations(self) -> TensorDict:
        """Return positions and velocities ``[E, 4]``."""
        return TensorDict({"policy": self._state}, [self.num_envs])

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Step with forces ``[E, 2]``; the observation after an episode's end is the first of the next episode."""
        position, velocity = self._state.chunk(2, dim=1)
        force = actions.clamp(self.action_low, self.action_high)
        velocity = velocity + self.step_dt * (force - self._settings.drag * velocity)
        self._state = torch.cat([position + self.step_dt * velocity, velocity], dim=1)
        reward, last = -self._state[:, :2].norm(dim=1), self._state
        time_outs = self.episode_length_buf + 1 >= self.max_episode_length
        self._state = torch.where(time_outs[:, None], self._starts(), self._state)
        self.episode_length_buf = (self.episode_length_buf + 1).masked_fill(time_outs, 0)
        extras = {"time_outs": time_outs, "final_obs": TensorDict({"policy": last}, [self.num_envs])}
        return self.get_observations(), reward, time_outs.long(), extras

    def alike(self, num_envs: int, seed: int) -> "PointMassEnv":
        """Make further environments, in which the policy of each checkpoint is evaluated beside training."""
        return PointMassEnv(PointMassEnvCfg(num_envs, self._settings.drag), self.device, seed)

    def close(self) -> None:
        """Release nothing."""


HOST = EnvironmentHost(
    name="point_mass",
    title="PointMass",
    package="point_mass_host",
    install="Run: pip install point_mass_host",
    patterns=("PointMass-v*",),
    tasks=lambda: ["PointMass-v0"],
    env_cfg=PointMassEnvCfg,
    make_env=lambda name, cfg, device, seed, render_mode: PointMassEnv(cfg, device, seed),
    config_dir=Path(__file__).with_name("configs"),
)
