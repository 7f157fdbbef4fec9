# SPDX-License-Identifier: BSD-3-Clause
"""A host whose simulator gives NaN."""

from __future__ import annotations

from typing import Any

import torch

from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv

TASK = "Pendulum-v1"


class Faulty(GymnasiumVecEnv):
    """A host that gives NaN in some environments from one step on, until they are reset, as GPU simulators do."""

    def __init__(self, envs: int, at: int, resets: bool = True, **kwargs: Any) -> None:
        super().__init__(TASK, 6, **kwargs)
        self.broken, self.at, self.steps, self.were_reset = list(range(envs)), at, 0, []
        if resets:
            self._reset_idx = self.mend

    def mend(self, ids: torch.Tensor) -> None:
        """Start new episodes, as a host's ``_reset_idx`` does."""
        self.were_reset.append(ids.tolist())
        self.broken = [env for env in self.broken if env not in ids.tolist()]

    @property
    def unwrapped(self) -> Any:
        return self

    def step(self, actions: torch.Tensor) -> Any:
        assert torch.isfinite(actions).all()
        obs, rewards, dones, extras = super().step(actions)
        self.steps += 1
        if self.steps >= self.at:
            obs["policy"][self.broken] = torch.nan
            rewards[self.broken] = torch.nan
        return obs, rewards, dones, extras
