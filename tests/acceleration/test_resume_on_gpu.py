# SPDX-License-Identifier: BSD-3-Clause
"""A resumed training ends where one that was not stopped does, on a CPU and on a GPU with captured graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.checkpoints.file import read_checkpoint, write_checkpoint
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner


def runner(folder: Path, device: str, seed: int, **settings: Any) -> OnPolicyRunner:
    torch.manual_seed(seed)
    env = GymnasiumVecEnv("HalfCheetah-v5", 4, seed=seed, device=device, max_episode_steps=10)
    return OnPolicyRunner(env, runner_cfg(**settings), log_dir=str(folder), device=device)


def assert_resume_is_exact(folder: Path, device: str, tolerance: float = 0.0, **settings: Any) -> None:
    """Compare four iterations with two, a checkpoint, and two more in another runner."""
    straight = runner(folder / "straight", device, 1, **settings)
    straight.learn(2)
    straight.save(str(folder / "half.pt"))
    straight.learn(2)
    resumed = runner(folder / "resumed", device, 99, **settings)
    resumed.load(str(folder / "half.pt"), map_location=device)
    resumed.learn(2)
    expected, states = straight.alg.get_policy().state_dict(), resumed.alg.get_policy().state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(states[name], value, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


def test_stopping_and_resuming_ends_in_the_same_parameters(tmp_path: Path) -> None:
    assert_resume_is_exact(tmp_path, "cpu")


def test_a_checkpoint_of_a_gpu_continues_on_a_cpu(tmp_path: Path) -> None:
    straight = runner(tmp_path / "straight", "cpu", 1)
    straight.learn(1)
    straight.save(str(tmp_path / "cpu.pt"))
    checkpoint = read_checkpoint(tmp_path / "cpu.pt")
    for name in ("critic", "actor", "duals"):
        for group in checkpoint["optimizer_state_dict"][name]["param_groups"]:
            group["capturable"] = True
    checkpoint["rng_state"] |= {"cuda": [torch.zeros(16, dtype=torch.uint8)], "device": "cuda:0"}
    write_checkpoint(checkpoint, tmp_path / "gpu.pt")
    straight.learn(1)
    resumed = runner(tmp_path / "resumed", "cpu", 99)
    resumed.load(str(tmp_path / "gpu.pt"))
    resumed.learn(1)
    expected, states = straight.alg.get_policy().state_dict(), resumed.alg.get_policy().state_dict()
    torch.testing.assert_close(states, expected, rtol=0, atol=0)


@pytest.mark.cuda
@pytest.mark.parametrize("compile_", ["off", "cudagraphs"])
def test_on_a_gpu_too(tmp_path: Path, compile_: str) -> None:
    assert_resume_is_exact(tmp_path, "cuda", compile=compile_)
