# SPDX-License-Identifier: BSD-3-Clause
"""Measure what Ant-v5 pays policies that have learned nothing: one that does nothing, and uniform random actions.

Writes ``benchmarks/results/ant_baselines.json``: means over episodes of the return, the length, and per step of the
parts of the reward.

    python benchmarks/ant_baselines.py
"""

from __future__ import annotations

import json
import statistics
from importlib.metadata import version
from pathlib import Path

import gymnasium as gym
import numpy as np
from rich.progress import track

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "ant_baselines.json"
TASK, EPISODES = "Ant-v5", 32
PARTS = ("reward_survive", "reward_ctrl", "reward_forward", "reward_contact")


def measure(scale: float) -> dict[str, float]:
    """Return means of episodes under actions uniform within ``scale`` times the bounds."""
    env = gym.make(TASK)
    noise = np.random.default_rng(0)
    returns, lengths, parts = [], [], {name: [] for name in PARTS}
    for seed in range(EPISODES):
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


def main() -> None:
    """Measure both."""
    policies = {"doing nothing": 0.0, "uniform random actions": 1.0}
    record = {name: measure(scale) for name, scale in track(policies.items(), "policies")}
    RESULTS.write_text(
        json.dumps(
            {
                "task": TASK,
                "episodes": EPISODES,
                "policies": record,
                "versions": {p: version(p) for p in ("gymnasium", "mujoco")},
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
