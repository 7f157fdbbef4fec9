# SPDX-License-Identifier: BSD-3-Clause
"""Run folders of short trainings, laid out as scripts/train.py does."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch.utils.tensorboard import SummaryWriter

from trudi_rsl.config import compose, save_params
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.runners import OnPolicyRunner

TASK = "InvertedPendulum-v5"

_SMALL_LEARNER = [
    "agent.algorithm.actor_hidden_dims=[16,16]",
    "agent.algorithm.critic_hidden_dim=16",
    "agent.algorithm.value_range=[-10.0,100.0]",
]
SMALL = {
    "trudi": ["agent.algorithm.num_denoise_steps=3", *_SMALL_LEARNER],
    "reppo": _SMALL_LEARNER,
    "dime": ["agent.algorithm.num_denoise_steps=3", *_SMALL_LEARNER],
    "ppo": ["agent.actor.hidden_dims=[16]", "agent.critic.hidden_dims=[16]"],
    "fpo": ["agent.actor.hidden_dims=[16]", "agent.critic.hidden_dims=[16]"],
}


def train_tiny(algo: str, folder: Path, task: str = TASK) -> Path:
    """Train two iterations into the run folder ``folder`` and return the checkpoint."""
    small = [*SMALL[algo], "env.num_envs=4", "agent.num_steps_per_env=16", "agent.algorithm.num_mini_batches=2"]
    cfg = compose(task, algo, small)
    folder.mkdir(parents=True)
    save_params(folder, cfg)
    torch.manual_seed(0)
    env = make_env(task, cfg.env, seed=0)
    agent = OmegaConf.to_container(cfg.agent)
    runner = OnPolicyRunner(env, agent, log_dir=str(folder), device="cpu")  # pyright: ignore[reportArgumentType]
    runner.learn(2)
    return folder / "model_1.pt"


def copy_run(run: Path, folder: Path, seed: int) -> Path:
    """Copy a run folder, said to be of another seed, and return its checkpoint."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("evaluations"))
    agent = OmegaConf.load(folder / "params" / "agent.yaml")
    OmegaConf.update(agent, "seed", seed)
    OmegaConf.save(agent, folder / "params" / "agent.yaml")
    return folder / "model_1.pt"


def write_run(folder: Path, points: dict[str, dict[int, float]], with_params: bool = True) -> Path:
    """Write a run folder that logged the values ``{tag: {iteration: value}}``."""
    writer = SummaryWriter(str(folder))
    for tag, values in points.items():
        for iteration, value in values.items():
            writer.add_scalar(tag, value, iteration)
    writer.close()
    if with_params:
        agent = {"num_steps_per_env": 32, "algorithm": {"kl_bound": 0.25}}
        save_params(folder, OmegaConf.create({"task": "T-v0", "agent": agent, "env": {"num_envs": 4}}))
    return folder
