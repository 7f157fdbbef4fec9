# SPDX-License-Identifier: BSD-3-Clause
"""A small runner configuration and an environment with privileged observations, for the contract tests."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import rsl_rl.utils
from rsl_rl.runners import OnPolicyRunner as StockRunner
from tensordict import TensorDict

from trudi_rsl.algorithms import TruDi
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.rsl_rl_3 import register_in_runner
from trudi_rsl.rsl_rl_compat.contract import policy_sets
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE
from trudi_rsl.runners import OnPolicyRunner

register_in_runner()
_LOGS = tempfile.TemporaryDirectory()

LoadingRunner: Any = OnPolicyRunner if POLICY_STYLE else StockRunner
"""The stock runner, or ours where the stock one cannot choose what it loads."""


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
        "compile": "off",
    }
    return {
        "num_steps_per_env": 6,
        "save_interval": 1000,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "algorithm": settings | algorithm,
    }


def stock_cfg(cfg: dict[str, Any], env: Any) -> dict[str, Any]:
    """Return the configuration as the installed stock runner takes it."""
    if not POLICY_STYLE:
        return cfg
    from trudi_rsl.rsl_rl_3.policy import DiffusionActorCritic

    evaluates = not hasattr(rsl_rl.utils, "resolve_callable")
    policy = "DiffusionActorCritic.for_env(self.env)" if evaluates else DiffusionActorCritic.for_env(env)
    return copy.deepcopy(cfg) | {
        "obs_groups": policy_sets(cfg["obs_groups"]),
        "policy": {"class_name": policy},
        "algorithm": cfg["algorithm"] | {"class_name": "TruDi", "rnd_cfg": None},
    }


def stock(env: Any, cfg: dict[str, Any], log_dir: Path | None = None) -> StockRunner:
    """Return the stock runner; that of RSL-RL 3 cannot learn without a log folder, so it gets one in any case."""
    folder = tempfile.mkdtemp(dir=_LOGS.name) if log_dir is None and POLICY_STYLE else log_dir
    return StockRunner(env, stock_cfg(cfg, env), str(folder) if folder else None, "cpu")


def algorithm(runner: StockRunner) -> TruDi:
    """Return the runner's algorithm, which RSL-RL types as its own."""
    return cast(TruDi, runner.alg)
