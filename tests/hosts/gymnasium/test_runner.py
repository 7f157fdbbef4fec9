# SPDX-License-Identifier: BSD-3-Clause
"""The Gymnasium host under RSL-RL's own, unchanged runner and PPO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rsl_rl.runners import OnPolicyRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv


def ppo_cfg() -> dict[str, Any]:
    network = {"class_name": "MLPModel", "hidden_dims": [16], "activation": "elu"}
    noise = {"class_name": "GaussianDistribution", "init_std": 1.0, "std_type": "scalar"}
    return {
        "num_steps_per_env": 12,
        "save_interval": 1,
        "logger": "tensorboard",
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": {**network, "distribution_cfg": noise},
        "critic": dict(network),
        "algorithm": {"class_name": "PPO", "num_mini_batches": 2, "rnd_cfg": None},
    }


def test_the_stock_runner_trains_ppo_and_logs_the_episode_statistics(tmp_path: Path) -> None:
    env = GymnasiumVecEnv("HalfCheetah-v5", 4, max_episode_steps=10)
    runner = OnPolicyRunner(env, ppo_cfg(), log_dir=str(tmp_path), device="cpu")
    before = [parameter.clone() for parameter in runner.alg.actor.parameters()]
    runner.learn(num_learning_iterations=1, init_at_random_ep_len=True)
    after = list(runner.alg.actor.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert (tmp_path / "model_0.pt").exists()
    # the stock runner leaves its writer open, and its thread may not have written yet
    runner.logger.writer.close()  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert {"Episode/return", "Episode/length", "Train/mean_reward"} <= set(events.Tags()["scalars"])
