# SPDX-License-Identifier: BSD-3-Clause
"""TruDi against PPO on Isaac Lab 3.0's Cartpole and Ant, on a CPU with Newton, by Isaac Lab's own train command.

Run it with the Python of an environment that has Isaac Lab and this package; ISAACSIM_ASSET_ROOT names a folder with
the robots' assets (tests/hosts/isaaclab_3_0/assets builds one). PPO is the task's own configuration, TruDi what
`rsl_rl_trudi_cfg_entry_point` makes of it with networks and rollouts for a CPU. One JSON file per run, in
benchmarks/results/isaaclab; a run whose result exists is not repeated.

    python benchmarks/isaaclab.py --seeds 1 2 3
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.progress import track

from trudi_rsl.evaluation.event_file import read_run
from trudi_rsl.hosts.isaaclab.tasks import PPO_KEY, TRUDI_KEY

RESULTS = Path(__file__).parent / "results" / "isaaclab"
NUM_ENVS = 64
AGENT = {"trudi": TRUDI_KEY, "ppo": PPO_KEY}
LOGGED = (
    *("Train/mean_reward", "Train/mean_episode_length", "Perf/collection_time", "Perf/learning_time"),
    *("Loss/path_kl", "Loss/gated_share", "Loss/entropy_per_dim", "Loss/alpha", "Loss/lambda", "Loss/td_error"),
    *("Loss/value_range_low", "Loss/value_range_high", "Loss/clipped_targets", "Loss/action_saturation"),
)
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


def train(task: Task, algo: str, seed: int, folder: Path) -> tuple[Path, float]:
    """Train in ``folder``; return the run folder and the seconds it took, start-up included."""
    command = [sys.executable, "-m", "isaaclab", "train", "--rl_library", "rsl_rl", "--task", task.name]
    command += ["--agent", AGENT[algo], "--num_envs", str(NUM_ENVS), "--seed", str(seed), "--device", "cpu"]
    command += ["--max_iterations", str(task.iterations(algo)), "physics=newton_mjwarp", "agent.device=cpu"]
    command += CPU_TRUDI if algo == "trudi" else ()
    start = time.time()
    with (folder / "output.txt").open("w") as output:
        one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=one_thread, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(folder / 'output.txt').read_text()[-3000:]}")
    return next((folder / "logs" / "rsl_rl").glob("*/*/params")).parent, time.time() - start


def measure(task: Task, algo: str, seed: int) -> dict[str, Any]:
    """Return the record of one run."""
    with tempfile.TemporaryDirectory() as folder:
        run, seconds = train(task, algo, seed, Path(folder))
        scalars = read_run(run, LOGGED).scalars
        iterations, returns = scalars["Train/mean_reward"]
        per_iteration = task.env_steps // task.iterations(algo)
        return {
            "table": "isaaclab",
            "task": task.name,
            "algo": algo,
            "seed": seed,
            "num_envs": NUM_ENVS,
            "overrides": list(CPU_TRUDI) if algo == "trudi" else [],
            "env_steps": [(int(i) + 1) * per_iteration for i in iterations],
            "returns": [round(float(v), 3) for v in returns],
            "final": {tag: float(values[-1]) for tag, (_, values) in sorted(scalars.items())},
            "wall_clock_s": round(seconds, 1),
            "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "isaaclab", "newton", "mujoco-warp")},
        }


def main() -> None:
    """Measure the runs that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    args = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    runs = [(task, algo, seed) for task in TASKS for seed in args.seeds for algo in AGENT]
    files = {(t, a, s): RESULTS / f"{t.name}_{a}_seed{s}.json" for t, a, s in runs}
    for run in track([run for run in runs if not files[run].exists()], "training runs"):
        files[run].write_text(json.dumps(measure(*run)) + "\n")


if __name__ == "__main__":
    main()
