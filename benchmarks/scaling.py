# SPDX-License-Identifier: BSD-3-Clause
"""Environment steps per second of TruDi in one process on one core, and in several that train together on as many.

    python benchmarks/scaling.py

Each process has the same number of environments, one thread and a core of its own. Writes
``benchmarks/results/scaling.json``: every iteration's time of every run, and the efficiency, which is the rate of the
processes together divided by their number and by the rate of one. As many that train at the same time, each by itself,
are measured too: what they lose to one alone, they lose to the machine and not to each other. Run it on an otherwise
idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from throughput import processor, training

from trudi_rsl.distributed import current_ranks

OUTPUT = Path(__file__).resolve().parent / "results" / "scaling.json"
ONE, TOGETHER, APART = "one process", "together", "at the same time, each by itself"


def time_iterations(args: argparse.Namespace) -> None:
    """Train as one of the processes that torchrun started, and let the first write what each iteration took."""
    process = current_ranks()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {args.cores[process.local_rank]})
    iterations = args.warm_up + args.iterations
    flags = {"agent.device": "cpu", "agent.num_threads": 1, "agent.seed": 1 + process.rank}
    # so that it is decided as in a whole training whether compiling is worth its time
    runner, cfg = training(args.task, "trudi", flags, args.settings)
    ends: list[float] = []
    update = runner.alg.update

    def timed() -> Any:
        logged = update()
        ends.append(time.perf_counter())
        return logged

    runner.alg.update = timed
    with contextlib.redirect_stdout(io.StringIO()):
        runner.learn(iterations, init_at_random_ep_len=True)
    if process.is_main:
        seconds = [end - start for start, end in itertools.pairwise(ends)][-args.iterations :]
        steps = cfg.agent.num_steps_per_env * cfg.env.num_envs * process.world_size
        args.worker.write_text(json.dumps({"env_steps_per_iteration": steps, "seconds_per_iteration": seconds}))


def start(args: argparse.Namespace, cores: Sequence[int], result: Path) -> subprocess.Popen[bytes]:
    """Start one torchrun with a process on each of the cores."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={len(cores)}"]
    command += [__file__, "--worker", str(result), "--cores", *map(str, cores), "--task", args.task]
    command += ["--warm_up", str(args.warm_up), "--iterations", str(args.iterations), "--settings", *args.settings]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})


def measure(args: argparse.Namespace, groups: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Return what groups of processes took that ran at the same time, each group training together.

    Raises:
        RuntimeError: If one of them failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        results = [Path(folder) / f"{i}.json" for i in range(len(groups))]
        running = [start(args, cores, result) for cores, result in zip(groups, results, strict=True)]
        if any([process.wait() for process in running]):
            raise RuntimeError("A training failed; its error is above.")
        measured = [json.loads(result.read_text()) for result in results]
    rates = [{"env_steps_per_second": rate(record), **record} for record in measured]
    return [{"cores": list(cores), **record} for cores, record in zip(groups, rates, strict=True)]


def rate(record: Mapping[str, Any]) -> float:
    """Return the environment steps per second of a run, by the median of its iterations."""
    return record["env_steps_per_iteration"] / statistics.median(record["seconds_per_iteration"])


def efficiency(runs: Mapping[str, list[list[dict[str, Any]]]], name: str) -> float:
    """Return the share of its rate alone that a process keeps in the setting ``name``, median over the repeats.

    Args:
        runs: By setting, of each repeat the groups that ran at the same time.
        name: One of the settings; ``ONE`` is what it is compared with, repeat by repeat.
    """
    shares = []
    for alone, others in zip(runs[ONE], runs[name], strict=True):
        processes = sum(len(group["cores"]) for group in others)
        shares.append(sum(map(rate, others)) / processes / sum(map(rate, alone)))
    return statistics.median(shares)


def main() -> None:
    """Measure all settings in turn, several times, and store the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="HalfCheetah-v5")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warm_up", type=int, default=5, help="iterations before the measured ones, at least 1")
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--settings", nargs="*", default=[], help="overrides, as env.num_envs=8")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        time_iterations(args)
        return
    cores = sorted(os.sched_getaffinity(0))[: args.processes]
    if len(cores) < args.processes:
        parser.error(f"{args.processes} processes need as many cores; this process may use {len(cores)}.")
    settings = {ONE: [cores[:1]], TOGETHER: [cores], APART: [[core] for core in cores]}
    runs: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in settings}
    for _ in range(args.repeats):
        for name, groups in settings.items():
            runs[name].append(measure(args, groups))
            print(f"{name}: {sum(map(rate, runs[name][-1])):.0f} env-steps/s", flush=True)
    result = {
        "task": args.task,
        "settings": args.settings,
        "processes": args.processes,
        "iterations": args.iterations,
        "warm_up": args.warm_up,
        "processor": processor(),
        "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "gymnasium", "mujoco")},
        "efficiency": {name: efficiency(runs, name) for name in (TOGETHER, APART)},
        "runs": runs,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    for name, share in result["efficiency"].items():
        print(f"{args.processes} processes {name}: {100.0 * share:.0f} % of the rate of one, each")


if __name__ == "__main__":
    main()
