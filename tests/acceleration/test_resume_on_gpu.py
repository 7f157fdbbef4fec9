# SPDX-License-Identifier: BSD-3-Clause
"""A resumed training ends where one that was not stopped does: on a CPU exactly, on a GPU within a tolerance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner

ON_GPU = 1e-4
"""Largest difference of a parameter after four updates on a GPU, where kernels add up in an order that changes."""


def runner(folder: Path, device: str, seed: int) -> OnPolicyRunner:
    torch.manual_seed(seed)
    env = GymnasiumVecEnv("HalfCheetah-v5", 4, seed=seed, device=device, max_episode_steps=10)
    return OnPolicyRunner(env, runner_cfg(), log_dir=str(folder), device=device)


@pytest.mark.parametrize(
    ("device", "tolerance"), [("cpu", 0.0), pytest.param("cuda", ON_GPU, marks=pytest.mark.cuda)], ids=["cpu", "gpu"]
)
def test_stopping_and_resuming_ends_in_the_same_parameters(tmp_path: Path, device: str, tolerance: float) -> None:
    straight = runner(tmp_path / "straight", device, 1)
    straight.learn(2)
    straight.save(str(tmp_path / "half.pt"))
    straight.learn(2)
    resumed = runner(tmp_path / "resumed", device, 99)
    resumed.load(str(tmp_path / "half.pt"), map_location=device)
    resumed.learn(2)
    expected, states = straight.alg.get_policy().state_dict(), resumed.alg.get_policy().state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(states[name], value, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")
