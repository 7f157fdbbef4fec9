# SPDX-License-Identifier: BSD-3-Clause
"""Measure what Ant-v5 pays without learning: for doing nothing, and for uniform random actions.

    python benchmarks/ant_baselines.py

Stores means over episodes of the return and the length, and means over steps of the parts of the reward.
"""

from __future__ import annotations

import statistics

import gymnasium as gym
import numpy as np
from results import Record, versions
from runs import main

TASK, EPISODES = "Ant-v5", 32
PARTS = ("reward_survive", "reward_ctrl", "reward_forward", "reward_contact")
SCALES = {"doing nothing": 0.0, "uniform random actions": 1.0}
"""Policies, and the share of the action bounds that their uniform actions fill."""


def measure(scale: float, episodes: int) -> dict[str, float]:
    """Return the means with actions uniform within ``scale`` times the bounds."""
    env, noise = gym.make(TASK), np.random.default_rng(0)
    returns, lengths, parts = [], [], {name: [] for name in PARTS}
    for seed in range(episodes):
        env.reset(seed=seed)
        rewards, over = [], False
        while not over:
            _, reward, terminated, truncated, info = env.step(scale * noise.uniform(-1.0, 1.0, env.action_space.shape))
            rewards.append(float(reward))
            over = terminated or truncated
            for name in PARTS:
                parts[name].append(float(info[name]))
        returns.append(sum(rewards))
        lengths.append(len(rewards))
    per_step = {name: round(statistics.mean(values), 3) for name, values in parts.items()}
    return {"return": round(statistics.mean(returns), 1), "length": round(statistics.mean(lengths), 1), **per_step}


def ant_baselines(quick: bool) -> Record:
    """Return the means of both policies."""
    episodes = 1 if quick else EPISODES
    policies = {name: measure(scale, episodes) for name, scale in SCALES.items()}
    return {"task": TASK, "episodes": episodes, "policies": policies, "versions": versions("gymnasium", "mujoco")}


if __name__ == "__main__":
    main(__doc__, {}, {"ant_baselines": ant_baselines})
