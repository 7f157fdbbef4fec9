# SPDX-License-Identifier: BSD-3-Clause
"""Environment steps per second with learning, and where an iteration's time goes.

    python benchmarks/throughput.py --before 14cb52a

Writes ``benchmarks/results/throughput.json``. Run it on an otherwise idle machine. ``--before`` names a commit whose
own throughput.py is run as well, as it was then, so that both are measured on the same machine in the same hour.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jobs import ALGORITHMS
from omegaconf import DictConfig, OmegaConf
from speed_subjects import path_kl_gradient
from timing import measured

from trudi_rsl.algorithms import TruDi
from trudi_rsl.config import compose
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.runners import OnPolicyRunner

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "benchmarks" / "results" / "throughput.json"
TASK = "HalfCheetah-v5"
WARM_UP, MEASURED = 5, 25


class Stopwatch:
    """Sums the time spent in wrapped methods, per name and iteration.

    Args:
        wait: Called before each look at the clock; on a GPU it must wait for the device.
    """

    def __init__(self, wait: Callable[[], None] = lambda: None) -> None:
        self.wait = wait
        self.seconds: dict[str, float] = defaultdict(float)

    def wrap(self, holder: Any, method: str, name: str) -> None:
        """Time every call of ``holder.method`` under ``name``."""
        inner: Callable[..., Any] = getattr(holder, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.wait()
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.wait()
                self.seconds[name] += time.perf_counter() - start

        setattr(holder, method, timed)

    def read(self) -> dict[str, float]:
        """Return the sums since the last call."""
        seconds, self.seconds = dict(self.seconds), defaultdict(float)
        return seconds


def training(
    task: str, algo: str, settings: dict[str, Any], overrides: Sequence[str] = ()
) -> tuple[OnPolicyRunner, DictConfig]:
    """Return a runner as ``scripts/train.py`` makes it, without a log folder, and its configuration.

    Args:
        task: Gymnasium name.
        algo: One of ``jobs.ALGORITHMS``.
        settings: Settings by dotted name, among them ``agent.seed`` and ``agent.device``.
        overrides: Further settings, as typed on a command line.
    """
    cfg = compose(task, algo, overrides, settings=settings)
    agent_cfg: dict[str, Any] = OmegaConf.to_container(cfg.agent)  # pyright: ignore[reportAssignmentType]
    torch.manual_seed(cfg.agent.seed)
    env = make_env(task, cfg.env, cfg.agent.device, cfg.agent.seed)
    return OnPolicyRunner(env, agent_cfg, None, cfg.agent.device), cfg


def measure(algo: str, seed: int) -> dict[str, Any]:
    """Return medians over iterations of one training run."""
    runner, cfg = training(TASK, algo, {"agent.seed": seed, "agent.device": "cpu"})
    env = runner.env
    watch = Stopwatch()
    watch.wrap(env, "step", "simulate")
    watch.wrap(runner.alg, "act", "sample")
    watch.wrap(runner.alg, "process_env_step", "store")
    watch.wrap(runner.alg, "compute_returns", "targets")
    watch.wrap(runner.alg, "update", "update")
    if isinstance(runner.alg, TruDi):
        watch.wrap(runner.alg.learner, "_critic_step", "critic step")
        watch.wrap(runner.alg.learner, "_actor_step", "actor step")
    iterations: dict[str, list[float]] = defaultdict(list)
    runner.learn(WARM_UP, init_at_random_ep_len=True)
    watch.read()
    for _ in range(MEASURED):
        start = time.perf_counter()
        runner.learn(1)
        iterations["iteration"].append(time.perf_counter() - start)
        for name, seconds in watch.read().items():
            iterations[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in iterations.items()}
    steps = cfg.agent.num_steps_per_env * cfg.env.num_envs
    record: dict[str, Any] = {
        "env_steps_per_second": steps / medians["iteration"],
        "slowest_and_fastest": [steps / max(iterations["iteration"]), steps / min(iterations["iteration"])],
        "seconds_per_iteration": medians,
        "env_steps_per_iteration": steps,
    }
    if isinstance(runner.alg, TruDi):
        if algo == "trudi":
            record["path_kl_ms"] = path_kl_ms(runner.alg)
        updates = runner.alg.cfg.num_learning_epochs * runner.alg.cfg.num_mini_batches
        record["minibatch_updates_per_iteration"] = updates
    return record


def measure_commit(commit: str, threads: Sequence[int]) -> dict[str, Any]:
    """Return the runs that a commit's own throughput.py measures, under names that end with the commit.

    Raises:
        subprocess.CalledProcessError: If there is no such commit here, or its script fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        command = [sys.executable, "benchmarks/throughput.py", "--threads", *map(str, threads)]
        subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": f"{folder}/source"}, check=True)
        runs = json.loads((Path(folder) / "benchmarks" / "results" / OUTPUT.name).read_text())["runs"]
    return {f"{name}, before ({commit})": run for name, run in runs.items() if name.startswith("trudi")}


def path_kl_ms(alg: TruDi) -> float:
    """Return the median time of the path KL alone, forward and backward, on one minibatch of the last rollout."""
    return measured(path_kl_gradient(alg), min_seconds=1.0).median


def main() -> None:
    """Measure the algorithms and store the record, beside what was measured of others on this machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--before", metavar="COMMIT", help="measure TruDi as it was at this commit too")
    parser.add_argument("--algos", nargs="+", choices=ALGORITHMS, default=["trudi", "ppo"])
    args = parser.parse_args()
    records = measure_commit(args.before, args.threads) if args.before else {}
    for threads in args.threads:
        torch.set_num_threads(threads)
        for algo in args.algos:
            with contextlib.redirect_stdout(io.StringIO()):
                records[f"{algo}, {threads} thread{'s' * (threads > 1)}"] = measure(algo, seed=1)
    result = {
        "task": TASK,
        "iterations": MEASURED,
        "warm_up": WARM_UP,
        "processor": processor(),
        "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "gymnasium", "mujoco")},
        "runs": records,
    }
    if OUTPUT.exists():
        stored = json.loads(OUTPUT.read_text())
        if all(stored[name] == result[name] for name in result if name != "runs"):
            result["runs"] = stored["runs"] | records
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n")
    for name, record in records.items():
        print(f"{name}: {record['env_steps_per_second']:.0f} env-steps/s")


def processor() -> str:
    """Return the processor's name and the cores this process may use."""
    names = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(names) or '?'} cores"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
