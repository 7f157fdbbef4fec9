# SPDX-License-Identifier: BSD-3-Clause
"""Small trainings on Playground's tasks, in this process, where tasks stay compiled."""

from __future__ import annotations

from pathlib import Path

from scripts import train as train_script

CARTPOLE, CHEETAH, G1 = "CartpoleBalance", "CheetahRun", "G1JoystickFlatTerrain"
ENVS, LENGTH = 8, 40
"""Environments and time limit of all tests, as other numbers are compiled anew."""
SETTINGS = (f"env.num_envs={ENVS}", f"env.episode_length={LENGTH}")
SMALL = (
    *("--device", "cpu", *SETTINGS, "agent.num_steps_per_env=8", "agent.save_interval=1"),
    *("agent.algorithm.num_mini_batches=2", "agent.algorithm.num_learning_epochs=1", "agent.num_threads=1"),
    f"agent.evaluation_episodes={ENVS}",
)
SMALL_NETWORKS = {
    "trudi": ("agent.algorithm.actor_hidden_dims=[16,16]", "agent.algorithm.critic_hidden_dim=16"),
    "ppo": ("agent.actor.hidden_dims=[16,16]", "agent.critic.hidden_dims=[16,16]"),
}


def arguments(task: str, algo: str, *more: str, iterations: int = 2) -> list[str]:
    """Return the arguments of a small training."""
    count = ("--max_iterations", str(iterations))
    return ["--task", task, "--algo", algo, *SMALL, *SMALL_NETWORKS[algo], *count, *more]


def train(task: str, algo: str, *more: str, iterations: int = 2) -> Path:
    """Train in the current folder and return the run folder."""
    assert train_script.main(arguments(task, algo, *more, iterations=iterations)) == 0
    return newest_run(Path.cwd())


def newest_run(folder: Path) -> Path:
    """Return the newest run folder below ``folder``."""
    return max(folder.glob("logs/rsl_rl/*/*/params"), key=lambda path: path.stat().st_mtime_ns).parent
