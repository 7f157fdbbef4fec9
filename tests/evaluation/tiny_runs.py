# SPDX-License-Identifier: BSD-3-Clause
"""Run folders of short trainings, laid out as scripts/train.py does."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import OmegaConf

from trudi_rsl.config import compose, save_params
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.runners import OnPolicyRunner

TASK = "InvertedPendulum-v5"

SMALL = {
    "trudi": [
        "agent.algorithm.num_denoise_steps=3",
        "agent.algorithm.actor_hidden_dims=[16,16]",
        "agent.algorithm.critic_hidden_dim=16",
        "agent.algorithm.value_range=[-10.0,100.0]",
    ],
    "ppo": ["agent.actor.hidden_dims=[16]", "agent.critic.hidden_dims=[16]"],
}


def train_tiny(algo: str, folder: Path) -> Path:
    """Train two iterations into the run folder ``folder`` and return the checkpoint."""
    small = [*SMALL[algo], "env.num_envs=4", "agent.num_steps_per_env=16", "agent.algorithm.num_mini_batches=2"]
    cfg = compose(TASK, algo, small)
    folder.mkdir(parents=True)
    save_params(folder, cfg)
    torch.manual_seed(0)
    env = make_env(TASK, cfg.env, seed=0)
    agent = OmegaConf.to_container(cfg.agent)
    runner = OnPolicyRunner(env, agent, log_dir=str(folder), device="cpu")  # pyright: ignore[reportArgumentType]
    runner.learn(2)
    return folder / "model_1.pt"
