# SPDX-License-Identifier: BSD-3-Clause
"""A small runner configuration and an environment with privileged observations, for the contract tests."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from rsl_rl.runners import OnPolicyRunner as StockRunner
from tensordict import TensorDict

from trudi_rsl.algorithms import TruDi
from trudi_rsl.hosts.gymnasium_env import GymnasiumVecEnv


class PartiallyObserved(GymnasiumVecEnv):
    """The actor sees the first half of the observation, the critic all of it."""

    def _tensordict(self, obs: np.ndarray) -> TensorDict:
        full = super()._tensordict(obs)
        half = full["policy"][:, : obs.shape[1] // 2]
        return TensorDict({"policy": half, "privileged": full["policy"]}, batch_size=full.batch_size)


def runner_cfg(**algorithm: Any) -> dict[str, Any]:
    """Return a TruDi configuration small enough for a test; ``algorithm`` overrides its settings."""
    settings = {
        "class_name": "trudi_rsl.algorithms:TruDi",
        "num_learning_epochs": 2,
        "num_mini_batches": 2,
        "learning_rate": 1e-3,
        "num_denoise_steps": 3,
        "actor_hidden_dims": [16, 16],
        "critic_hidden_dim": 16,
        "num_bins": 21,
        "value_range": [-100.0, 100.0],
        "init_alpha": 0.1,
    }
    return {
        "num_steps_per_env": 6,
        "save_interval": 1000,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "algorithm": settings | algorithm,
    }


def algorithm(runner: StockRunner) -> TruDi:
    """Return the runner's algorithm, which RSL-RL types as its own."""
    return cast(TruDi, runner.alg)
