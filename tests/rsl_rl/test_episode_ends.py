# SPDX-License-Identifier: BSD-3-Clause
"""Under the stock runner, falls in the step of the time limit are not bootstrapped if the environment reports them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from tests.hosts.episode_ends import DUE, FALLS, check_episode_ends
from tests.rsl_rl.helpers import algorithm, runner_cfg, stock
from tests.rsl_rl.small_policies import built
from trudi_rsl.algorithms import DPPO, FPO, SPO
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS


class Scripted(VecEnv):
    """Four environments with random observations; in the first step 0 falls, 1 runs out of time, and 2 does both.

    Args:
        reports: Where terminations are reported, beside ``dones``: ``extras``, ``attribute`` or ``nowhere``.
        one_buffer: Return the observations of every step, and the last ones, in the same memory.
    """

    task = "Scripted-v0"

    def __init__(self, reports: str, one_buffer: bool = False) -> None:
        self.num_envs, self.num_actions, self.max_episode_length, self.device, self.cfg = 4, 2, 10, "cpu", {}
        self.episode_length_buf = torch.zeros(4, dtype=torch.long)
        self.action_low, self.action_high = -torch.ones(2), torch.ones(2)
        self.reports, self.one_buffer, self.steps = reports, one_buffer, 0
        self.buffer = torch.randn(4, 3)

    def _observe(self) -> TensorDict:
        seen = self.buffer.normal_() if self.one_buffer else torch.randn(4, 3)
        return TensorDict({"policy": seen}, batch_size=[4])

    def get_observations(self) -> TensorDict:
        return self._observe()

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        falls, due = torch.zeros(2, 4, dtype=torch.bool)
        if self.steps == 0:
            falls[FALLS], due[DUE] = True, True
        self.steps += 1
        extras: dict[str, Any] = {"time_outs": due, "final_obs": self._observe()}
        if self.reports == "extras":
            extras["terminated"] = falls
        elif self.reports == "attribute":
            self.reset_terminated = falls
        return self._observe(), torch.randn(4), (falls | due).long(), extras


@pytest.mark.parametrize("reports", ["extras", "attribute"])
@pytest.mark.parametrize("one_buffer", [False, True])
def test_trudi_bootstraps_a_time_limit_and_no_fall(reports: str, one_buffer: bool, tmp_path: Path) -> None:
    env = Scripted(reports, one_buffer)
    check_episode_ends(env, algorithm(stock(env, runner_cfg(), tmp_path)), lambda: None, keeps_last=not one_buffer)


def test_final_observations_that_are_turned_off_are_not_used(tmp_path: Path) -> None:
    env = Scripted("extras")
    trudi = algorithm(stock(env, runner_cfg(final_observations=False), tmp_path))
    check_episode_ends(env, trudi, lambda: None, keeps_last=False)


@pytest.mark.skipif(not PPO_MODELS, reason="RSL-RL 5 has the models and the storage")
@pytest.mark.parametrize("cls", [SPO, DPPO, FPO])
def test_ppos_relatives_bootstrap_a_time_limit_and_no_fall_from_the_value_before_the_step(cls: Any) -> None:
    env = Scripted("extras")
    relative = built(cls, gamma=0.9, env=env)
    with torch.inference_mode():
        obs = env.get_observations()
        values = relative.critic(obs).squeeze(-1)
        obs, rewards, dones, extras = env.step(relative.act(obs))
        relative.process_env_step(obs, rewards, dones, extras)
    truncated = torch.tensor([0.0, 1.0, 0.0, 0.0])
    torch.testing.assert_close(relative.storage.rewards[0, :, 0], rewards + 0.9 * truncated * values)
    assert extras["time_outs"].tolist() == [False, True, True, False]
