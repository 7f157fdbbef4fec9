# SPDX-License-Identifier: BSD-3-Clause
"""Train and evaluate the runs of ``jobs.py``, one JSON file each in ``benchmarks/results/learning``.

Every run is the command a user would type, in a folder of its own, on one thread. A run whose result exists is not
repeated, so an interrupted benchmark continues; delete the file to measure again.

    python benchmarks/learning.py --tables halfcheetah tasks ablation --workers 2
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from host_runs import elapsed_seconds
from jobs import TABLES, Job, learning_jobs
from omegaconf import DictConfig, OmegaConf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trudi_rsl.config import load_params
from trudi_rsl.config.event_file import read_run
from trudi_rsl.evaluation.identify import newest_checkpoint, read_subject
from trudi_rsl.evaluation.measurement import Evaluation, EvaluationCfg
from trudi_rsl.evaluation.samplers import GAUSSIAN_POLICIES, SamplerCfg
from trudi_rsl.hosts.registry import GYMNASIUM

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "learning"
EVALUATION_EPISODES = 32
EVALUATION_SEED = 1000
LOGGED = (
    "Train/mean_reward",
    "Perf/collection_time",
    "Perf/learning_time",
    "Loss/path_kl",
    "Loss/path_kl_max",
    "Loss/gated_share",
    "Loss/entropy_per_dim",
    "Loss/alpha",
    "Loss/lambda",
    "Loss/td_error",
    "Loss/q_mean",
    "Loss/clipped_targets",
    "Loss/value_range_low",
    "Loss/value_range_high",
    "Loss/action_saturation",
    "Loss/friction",
)
EXPORTED = "ode_from_zeros"
SAMPLERS = {
    "sde": SamplerCfg("sde"),
    "ode": SamplerCfg("ode", initial_latent="random"),
    EXPORTED: SamplerCfg("ode", initial_latent="zeros"),
}
GAUSSIANS_SAMPLERS = {"sde": SamplerCfg("sde"), EXPORTED: SamplerCfg("ode")}
"""A sample and the mean, under the names of what they stand beside."""


def train(job: Job, folder: Path) -> Path:
    """Run ``scripts/train.py`` in ``folder`` and return the run folder."""
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "--task", job.task, "--algo", job.algo]
    command += ["--seed", str(job.seed), "--device", "cpu", "--headless", "agent.evaluation_episodes=null"]
    command += job.overrides
    with (folder / "output.txt").open("w") as output:
        done = subprocess.run(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=one_thread(), check=False
        )
    text = (folder / "output.txt").read_text()
    if done.returncode:
        raise RuntimeError(f"{job.name} failed:\n{text[-2000:]}")
    return next((folder / "logs" / "rsl_rl").glob("*/*/params")).parent


def one_thread() -> dict[str, str]:
    """Return the environment with numerical libraries capped at one thread, so that runs beside each other compare."""
    return os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def evaluate_run(run: Path) -> dict[str, list[float]]:
    """Return the episode returns of the trained policy under each of its samplers."""
    subject, cfg = read_subject(newest_checkpoint(run)), EvaluationCfg(EVALUATION_EPISODES, seed=EVALUATION_SEED)
    samplers = GAUSSIANS_SAMPLERS if subject.algorithm in GAUSSIAN_POLICIES else SAMPLERS
    return {name: Evaluation(subject, sampler, cfg, GYMNASIUM).run().returns for name, sampler in samplers.items()}


def measure(job: Job) -> dict[str, Any]:
    """Train, evaluate and return the record of one run."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        run = train(job, Path(folder))
        wall = time.time() - start
        log, params = read_run(run, LOGGED), load_params(run)
        iterations, returns = log.scalars["Train/mean_reward"]
        clipped = log.scalars.get("Loss/clipped_targets")
        return {
            "table": job.table,
            "task": job.task,
            "algo": job.algo,
            "variant": job.variant,
            "overrides": list(job.overrides),
            "seed": job.seed,
            "config": measured_config(params),
            "env_steps": log.env_steps(iterations).tolist(),
            "returns": [round(float(v), 3) for v in returns],
            "seconds": elapsed_seconds(log),
            "final": {tag: float(values[-1]) for tag, (_, values) in sorted(log.scalars.items())},
            "mean": {tag: float(values.mean()) for tag, (_, values) in sorted(log.scalars.items())},
            "clipped_targets_max": None if clipped is None else float(clipped[1].max()),
            "wall_clock_s": round(wall, 1),
            "evaluation": evaluate_run(run),
            "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "gymnasium", "mujoco")},
        }


def measured_config(params: DictConfig) -> dict[str, Any]:
    """Return what decides the result beside the seed: environment, rollout and algorithm."""
    kept = {"env": params.env, "num_steps_per_env": params.agent.num_steps_per_env, "algorithm": params.agent.algorithm}
    kept |= {name: params.agent[name] for name in ("actor", "critic", "max_iterations") if name in params.agent}
    return OmegaConf.to_container(OmegaConf.create(kept))  # pyright: ignore[reportReturnType]


def run_job(job: Job) -> None:
    """Measure one run in this process and store its record."""
    torch.set_num_threads(1)
    record = measure(job)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{job.name}.json").write_text(json.dumps(record) + "\n")


def run_all(jobs: list[Job], workers: int = 1) -> int:
    """Measure all runs that have no result yet, each in a process of its own; return how many failed."""
    left = [job for job in jobs if not (RESULTS / f"{job.name}.json").exists()]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, ThreadPoolExecutor(workers) as pool:
        bar = progress.add_task("training runs", total=len(left))

        def in_process(job: Job) -> bool:
            command = [sys.executable, __file__, "--run", job.name, "--tables", job.table]
            done = subprocess.run(command, env=one_thread(), capture_output=True, text=True, check=False)
            progress.advance(bar)
            if done.returncode:
                progress.print(f"[red]{job.name} failed[/red]\n{done.stderr[-2000:]}")
            return done.returncode != 0

        return sum(pool.map(in_process, left))


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--workers", type=int, default=2, help="runs at the same time, one thread each")
    parser.add_argument("--run", metavar="NAME", help="measure one run in this process")
    args = parser.parse_args()
    jobs = learning_jobs(set(args.tables))
    if args.run is not None:
        run_job(next(job for job in jobs if job.name == args.run))
    else:
        sys.exit(bool(run_all(jobs, args.workers)))


if __name__ == "__main__":
    main()
