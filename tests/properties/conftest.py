# SPDX-License-Identifier: BSD-3-Clause
"""A real checkpoint, small enough to be damaged often, and the folder of a real run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.deploy.drift import DriftEnv, ppo_cfg, runner_cfg
from trudi_rsl.config import compose, save_params
from trudi_rsl.runners import OnPolicyRunner

TINY = {"actor_hidden_dims": [4], "critic_hidden_dim": 4, "num_bins": 5, "num_denoise_steps": 2, "num_mini_batches": 2}


def tiny_runner() -> OnPolicyRunner:
    return OnPolicyRunner(DriftEnv(), runner_cfg(**TINY) | {"num_steps_per_env": 4}, log_dir=None, device="cpu")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with ``model_1.pt`` of TruDi, ``ppo.pt`` and ``params/``."""
    folder = tmp_path_factory.mktemp("property")
    torch.manual_seed(0)
    runner = tiny_runner()
    runner.learn(1)
    runner.save(str(folder / "model_1.pt"))
    OnPolicyRunner(DriftEnv(), ppo_cfg(), log_dir=None, device="cpu").save(str(folder / "ppo.pt"))
    save_params(folder, compose("Pendulum-v1"))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all examples of a module share."""
    return tmp_path_factory.mktemp("examples")
