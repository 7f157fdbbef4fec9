# SPDX-License-Identifier: BSD-3-Clause
"""TruDi, its Gaussian sibling and PPO on mjlab's cartpole swing-up, on a CPU, by scripts/train.py.

Run it with the Python of an environment that has mjlab and this package. PPO is the task's own configuration, TruDi
what `Mjlab-Cartpole-Swingup-TruDi` is; all get the same number of environments and of environment steps. One JSON
file per run, in benchmarks/results/mjlab; a run whose result exists is not repeated.

    python benchmarks/mjlab_cartpole.py --seeds 1 2 3
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from host_runs import learning_curve, measure_missing, train
from mjlab.envs import ManagerBasedRlEnv  # pyright: ignore[reportMissingImports]

from trudi_rsl.evaluation.episodes import evaluate
from trudi_rsl.evaluation.policies import load_policy
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.mjlab.play import PlayedEnv, agent_cfg, playing_cfg
from trudi_rsl.hosts.mjlab.task import find_task
from trudi_rsl.runners import OnPolicyRunner

TASK = "Mjlab-Cartpole-Swingup"
RESULTS = Path(__file__).resolve().parent / "results" / "mjlab"
TRAIN = Path(__file__).resolve().parents[1] / "scripts" / "train.py"
NUM_ENVS = 128
ENV_STEPS = 512_000
EVALUATION_EPISODES = 32
EVALUATION_SEED = 1000
ALGORITHMS = ("trudi", "reppo", "ppo")
DETERMINISTIC = {
    "trudi": SamplerCfg("ode", initial_latent="zeros"),
    "reppo": SamplerCfg("ode"),
    "ppo": SamplerCfg("ode"),
}
"""The policy that is exported."""


def measure(run: tuple[str, int]) -> dict[str, Any]:
    """Train and evaluate one algorithm with one seed and return the record."""
    algo, seed = run
    cfg = find_task(TASK, algo).agent_cfg()
    steps_per_iteration = NUM_ENVS * cfg.num_steps_per_env
    command = [sys.executable, str(TRAIN), "--task", TASK, "--algo", algo, "--device", "cpu", "--headless"]
    command += ["--num_envs", str(NUM_ENVS), "--seed", str(seed)]
    command += ["--max_iterations", str(ENV_STEPS // steps_per_iteration)]
    with tempfile.TemporaryDirectory() as folder:
        before = cpu_seconds()
        run_dir, seconds = train(command, Path(folder))
        cpu = cpu_seconds() - before
        checkpoint = max(run_dir.glob("model_*.pt"), key=lambda path: int(path.stem.removeprefix("model_")))
        return {
            "table": "mjlab",
            "task": TASK,
            "algo": algo,
            "seed": seed,
            "num_envs": NUM_ENVS,
            "num_steps_per_env": cfg.num_steps_per_env,
            **learning_curve(run_dir, steps_per_iteration),
            "evaluation": deterministic_returns(checkpoint, algo),
            "wall_clock_s": round(seconds, 1),
            # unlike wall-clock time, comparable between runs that shared the machine with other work
            "cpu_s": round(cpu, 1),
            "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "mjlab", "mujoco-warp", "warp-lang")},
        }


def cpu_seconds() -> float:
    """Return the processor time of this process's finished children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def deterministic_returns(checkpoint: Path, algo: str) -> list[float]:
    """Return the episode returns of the policy that would be deployed, without noise on its observations."""
    task = find_task(TASK, algo)
    agent = agent_cfg(task, checkpoint)
    simulator = ManagerBasedRlEnv(playing_cfg(task, EVALUATION_EPISODES, EVALUATION_SEED), "cpu")
    env = PlayedEnv(simulator, TASK, agent["clip_actions"])
    policy = load_policy(checkpoint, task.algo, env, agent, DETERMINISTIC[algo], "cpu", OnPolicyRunner)
    return evaluate(env, policy, EVALUATION_EPISODES, progress=False).returns.tolist()


def main() -> None:
    """Measure the runs that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--algos", nargs="+", choices=ALGORITHMS, default=ALGORITHMS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = [(algo, seed) for seed in args.seeds for algo in args.algos]
    measure_missing({(algo, seed): RESULTS / f"{TASK}_{algo}_seed{seed}.json" for algo, seed in runs}, measure)


if __name__ == "__main__":
    main()
