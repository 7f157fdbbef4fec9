# SPDX-License-Identifier: BSD-3-Clause
"""Training runs: the plan of ``plan.yaml``, and measuring those that have no stored record yet."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from results import ROOT, Record, Results, argument_parser, chosen_results, run_key
from rich.progress import track

from trudi_rsl.config.event_file import Run
from trudi_rsl.experiments.launch import Command, run_jobs

QUICK_ITERATIONS = 3
OTHER_ENVIRONMENTS = ("isaaclab", "isaaclab_gradients", "mjlab", "mjlab_gradients")
OTHER_ENVIRONMENTS += ("playground", "maniskill", "humanoidbench")
"""Tables that are measured only if they are named, because they need another environment."""
JOB, RECORD = "job.json", "record.json"
"""A job's input and output, in its folder."""
LOGGED = (
    *("Train/mean_reward", "Train/mean_episode_length", "Perf/collection_time", "Perf/learning_time"),
    *("Loss/path_kl", "Loss/path_kl_max", "Loss/gated_share", "Loss/entropy_per_dim", "Loss/alpha", "Loss/lambda"),
    *("Loss/td_error", "Loss/q_mean", "Loss/clipped_targets", "Loss/value_range_low", "Loss/value_range_high"),
    *("Loss/action_saturation", "Loss/friction", "Loss/symmetry"),
)
"""Scalars that are read from a run."""


@dataclass(frozen=True)
class Job:
    """One training run."""

    task: str
    algo: str
    variant: str
    seed: int
    overrides: tuple[str, ...] = ()
    iterations: int | None = None
    """Length of training, None for the preset's."""

    def record(self) -> Record:
        """Return what opens the run's record."""
        return dataclasses.asdict(self) | {"overrides": list(self.overrides)}

    def quick(self) -> Job:
        """Return the run with a few iterations."""
        kept = tuple(o for o in self.overrides if not o.startswith("agent.max_iterations="))
        return dataclasses.replace(self, overrides=kept, iterations=QUICK_ITERATIONS)

    def command(self, *more: str) -> list[str]:
        """Return the ``scripts/train.py`` command of this run on a CPU, with further arguments."""
        words = [sys.executable, str(ROOT / "scripts" / "train.py"), "--task", self.task, "--algo", self.algo]
        words += ["--seed", str(self.seed), "--device", "cpu", "--headless"]
        words += ["--max_iterations", str(self.iterations)] if self.iterations else []
        return [*words, *more, *self.overrides]


def planned(table: str) -> list[Job]:
    """Return the runs of a table in ``plan.yaml``, sorted by seed, so that an interrupted benchmark still compares."""
    jobs = []
    for entry in yaml.safe_load(Path(__file__).with_name("plan.yaml").read_text())[table]:
        shared = entry.get("settings", {})
        for variant, settings in entry.get("variants", {"preset": {}}).items():
            overrides = tuple(f"{name}={value}" for name, value in (shared | settings).items())
            jobs += [
                Job(task, algo, variant, seed, overrides, entry.get("iterations"))
                for seed in range(1, entry["seeds"] + 1)
                for task in entry["tasks"]
                for algo in entry["algos"]
            ]
    return sorted(jobs, key=lambda job: job.seed)


def one_thread() -> dict[str, str]:
    """Return the environment with numerical libraries limited to one thread."""
    return os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def train(command: Sequence[str], folder: Path) -> tuple[Path, float]:
    """Run a training command in ``folder`` on one thread.

    Returns:
        The run folder, and the wall-clock seconds, start-up included.

    Raises:
        RuntimeError: If the command fails; the message ends with the end of its output.
    """
    start = time.monotonic()
    with (folder / "output.txt").open("w") as output:
        done = subprocess.run(
            command, cwd=folder, env=one_thread(), stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(folder / 'output.txt').read_text()[-3000:]}")
    return run_folder(folder), time.monotonic() - start


def run_folder(folder: Path) -> Path:
    """Return the only run below ``folder``."""
    return next((folder / "logs" / "rsl_rl").glob("*/*/params")).parent


def learning_curve(log: Run, steps_per_iteration: int | None = None) -> Record:
    """Return a run's training returns and its last logged values.

    Args:
        log: The run, read with :data:`LOGGED`.
        steps_per_iteration: Environment steps per iteration; None reads them from the run's configuration.

    Returns:
        ``returns``: mean of the last 100 episodes, of each iteration by whose end an episode has finished.
        ``env_steps``: at the first and the last of these; they are evenly spaced.
        ``seconds``: of training by the end of each, compiling included, start-up not.
        ``final``: the last value of each scalar.
    """
    iterations, returns = log.scalars["Train/mean_reward"]
    steps = (iterations + 1) * steps_per_iteration if steps_per_iteration else log.env_steps(iterations)
    return {
        "env_steps": [int(steps[0]), int(steps[-1])],
        "returns": [round(float(value), 3) for value in returns],
        "seconds": [round(float(s), 2) for s in log.elapsed_seconds(iterations)],
        "final": {tag: float(values[-1]) for tag, (_, values) in sorted(log.scalars.items())},
    }


def settings_of(params: DictConfig) -> Record:
    """Return the settings that determine a result besides the seed: environment, rollout and algorithm."""
    kept = {"env": params.env, "num_steps_per_env": params.agent.num_steps_per_env, "algorithm": params.agent.algorithm}
    kept |= {name: params.agent[name] for name in ("actor", "critic", "max_iterations") if name in params.agent}
    return OmegaConf.to_container(OmegaConf.create(kept))  # pyright: ignore[reportReturnType]


def measure_missing(results: Results, table: str, jobs: Sequence[Job], script: str, workers: int = 1) -> int:
    """Measure the jobs without a stored record, store each record, print errors and return how many jobs failed.

    ``script`` is the benchmark to start for each run; it calls :func:`main`.
    """
    stored, commands, failed = {run_key(run) for run in results.runs(table)}, [], 0
    with tempfile.TemporaryDirectory() as name:
        for i, job in enumerate(job for job in jobs if run_key(job.record()) not in stored):
            folder = Path(name, str(i))
            folder.mkdir()
            (folder / JOB).write_text(json.dumps({"table": table, "job": dataclasses.asdict(job)}))
            command = [sys.executable, script, "--job", str(folder)]
            commands.append(Command(str(job), command, folder / "output.txt", folder))
        for end in track(run_jobs(commands, workers), table, len(commands)) if commands else ():
            if end.failure:
                failed += 1
                print(f"{end.job.name} failed:\n{end.job.output.read_text()[-2000:]}", file=sys.stderr)
            else:
                results.add(table, json.loads((end.job.output.parent / RECORD).read_text()))
    return failed


def main(
    doc: str | None,
    tables: dict[str, Callable[[Job], Record]],
    singles: dict[str, Callable[[bool], Record]] | None = None,
    workers: int = 1,
) -> None:
    """Parse the command line and measure the chosen tables, one after the other.

    Args:
        doc: Description of the script.
        tables: Result files of training runs, each with the function that measures one of its runs.
        singles: Other result files, each with the function that returns its content; it takes whether to be quick.
        workers: Default number of training runs at the same time.
    """
    singles = singles or {}
    parser, every = argument_parser(doc), [*tables, *singles]
    default = [table for table in every if table not in OTHER_ENVIRONMENTS]
    parser.add_argument("--tables", nargs="+", choices=every, default=default)
    parser.add_argument("--tasks", nargs="+", help="only runs on these tasks")
    parser.add_argument("--algos", nargs="+", help="only runs of these algorithms")
    parser.add_argument("--seeds", nargs="+", type=int, help="only runs with these seeds")
    parser.add_argument("--workers", type=int, default=workers, help="training runs at the same time, one thread each")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job is not None:
        torch.set_num_threads(1)
        planned_job = json.loads((args.job / JOB).read_text())
        record = tables[planned_job["table"]](Job(**planned_job["job"]))
        (args.job / RECORD).write_text(json.dumps(record))
        return
    results, failed = chosen_results(args), 0
    wanted = {"task": args.tasks, "algo": args.algos, "seed": args.seeds}
    for table in args.tables:
        if table in singles:
            results.write(table, singles[table](args.quick))
            continue
        jobs = [job for job in planned(table) if all(not w or getattr(job, name) in w for name, w in wanted.items())]
        jobs = [job.quick() for job in jobs[:1]] if args.quick else jobs
        # runs that are compared by their wall-clock time must not share the machine
        alone = table == "learning/wallclock"
        failed += measure_missing(results, table, jobs, str(Path(sys.argv[0]).resolve()), 1 if alone else args.workers)
    sys.exit(bool(failed))
