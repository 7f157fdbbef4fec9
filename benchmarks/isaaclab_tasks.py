# SPDX-License-Identifier: BSD-3-Clause
"""TruDi against PPO on Isaac Lab 3.0's Cartpole and Ant, on a CPU with Newton, by Isaac Lab's own train command.

Run it with the Python of an environment that has Isaac Lab and this package; ISAACSIM_ASSET_ROOT names a folder with
the robots' assets (tests/hosts/isaaclab_3_0/assets builds one). PPO is the task's own configuration, TruDi what
`rsl_rl_trudi_cfg_entry_point` makes of it with networks and rollouts for a CPU. One JSON file per run, in
benchmarks/results/isaaclab; a run whose result exists is not repeated.

    python benchmarks/isaaclab_tasks.py --seeds 1 2 3
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from host_runs import learning_curve, measure_missing, train

from trudi_rsl.hosts.isaaclab.registration import PPO_KEY, TRUDI_KEY

RESULTS = Path(__file__).parent / "results" / "isaaclab"
NUM_ENVS = 64
AGENT = {"trudi": TRUDI_KEY, "ppo": PPO_KEY}
CPU_TRUDI = (
    "agent.num_steps_per_env=32",
    "agent.algorithm.num_mini_batches=16",
    "agent.algorithm.learning_rate=0.001",
    "agent.algorithm.actor_hidden_dims=[128,128,128]",
    "agent.algorithm.critic_hidden_dim=128",
)
"""The settings of configs/preset/trudi/gymnasium.yaml in which it differs from configs/preset/trudi/isaaclab.yaml."""


@dataclass(frozen=True)
class Task:
    """A task and how long to train on it."""

    name: str
    env_steps: int
    ppo_steps_per_env: int
    """The task's own."""

    def iterations(self, algo: str) -> int:
        """Return the iterations that make the environment steps."""
        return self.env_steps // (NUM_ENVS * (32 if algo == "trudi" else self.ppo_steps_per_env))


TASKS = (Task("Isaac-Cartpole", 102_400, 16), Task("Isaac-Ant", 299_008, 32))


def command(task: Task, algo: str, seed: int) -> list[str]:
    """Return what a user would type."""
    words = [sys.executable, "-m", "isaaclab", "train", "--rl_library", "rsl_rl", "--task", task.name]
    words += ["--agent", AGENT[algo], "--num_envs", str(NUM_ENVS), "--seed", str(seed), "--device", "cpu"]
    words += ["--max_iterations", str(task.iterations(algo)), "physics=newton_mjwarp", "agent.device=cpu"]
    return [*words, *(CPU_TRUDI if algo == "trudi" else ())]


def measure(run: tuple[Task, str, int]) -> dict[str, Any]:
    """Train one algorithm on one task with one seed and return the record."""
    task, algo, seed = run
    with tempfile.TemporaryDirectory() as folder:
        run_dir, seconds = train(command(task, algo, seed), Path(folder))
        return {
            "table": "isaaclab",
            "task": task.name,
            "algo": algo,
            "seed": seed,
            "num_envs": NUM_ENVS,
            "overrides": list(CPU_TRUDI) if algo == "trudi" else [],
            **learning_curve(run_dir, task.env_steps // task.iterations(algo)),
            "wall_clock_s": round(seconds, 1),
            "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "isaaclab", "newton", "mujoco-warp")},
        }


def main() -> None:
    """Measure the runs that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    args = parser.parse_args()
    runs = [(task, algo, seed) for task in TASKS for seed in args.seeds for algo in AGENT]
    measure_missing({(t, a, s): RESULTS / f"{t.name}_{a}_seed{s}.json" for t, a, s in runs}, measure)


if __name__ == "__main__":
    main()
