# SPDX-License-Identifier: BSD-3-Clause
"""Short trainings whose checkpoints are evaluated, and what they logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner

EPISODES, STEPS = 3, 12


def cheetah(num_envs: int = 2, seed: int = 1) -> GymnasiumVecEnv:
    return GymnasiumVecEnv("HalfCheetah-v5", num_envs, seed=seed, max_episode_steps=STEPS)


def trained(folder: Path, episodes: int | None, *, env: Any = None, cfg: dict[str, Any] | None = None) -> Any:
    """Return the runner after four iterations, each with a checkpoint."""
    torch.manual_seed(7)
    settings = (cfg or runner_cfg(learning_rate=0.02)) | {"save_interval": 1, "evaluation_episodes": episodes}
    runner = OnPolicyRunner(env or cheetah(), settings, log_dir=str(folder), device="cpu")
    runner.learn(4, init_at_random_ep_len=True)
    return runner


def logged(folder: Path, name: str = "Evaluation/mean_return") -> dict[int, float]:
    events = EventAccumulator(str(folder))
    events.Reload()
    if name not in events.Tags()["scalars"]:
        return {}
    return {event.step: event.value for event in events.Scalars(name)}
