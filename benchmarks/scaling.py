# SPDX-License-Identifier: BSD-3-Clause
"""Environment steps per second of TruDi in one process on one core, and in several that train together on as many.

    python benchmarks/scaling.py

Each process has the same number of environments, one thread and a core of its own. The efficiency is the rate of the
processes together divided by their number and by the rate of one. As many independent trainings at the same time are
measured, too: what they lose, they lose to the shared machine and not to synchronization. Run it on an otherwise idle
machine.
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
from pathlib import Path
from typing import Any

import torch
from results import Record, argument_parser, chosen_results, versions
from throughput import TASK, training

from trudi_rsl.deploy.provenance import machine
from trudi_rsl.distributed import current_ranks

ONE, TOGETHER, APART = "one process", "together", "at the same time, each by itself"


def time_iterations(args: argparse.Namespace) -> None:
    """Train as one process of a torchrun; rank 0 writes the seconds of each iteration."""
    ranks = current_ranks()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {args.cores[ranks.local_rank]})
    flags = {"agent.device": "cpu", "agent.num_threads": 1, "agent.seed": 1 + ranks.rank}
    runner, cfg = training(args.task, "trudi", flags, args.settings)
    ends: list[float] = []
    update = runner.alg.update

    def timed() -> Any:
        logged = update()
        ends.append(time.perf_counter())
        return logged

    runner.alg.update = timed
    with contextlib.redirect_stdout(io.StringIO()):
        # one call, so that compiling is decided on as in a whole training
        runner.learn(args.warm_up + args.iterations, init_at_random_ep_len=True)
    if ranks.is_main:
        seconds = [end - start for start, end in itertools.pairwise(ends)][-args.iterations :]
        steps = cfg.agent.num_steps_per_env * cfg.env.num_envs * ranks.world_size
        args.worker.write_text(json.dumps({"env_steps_per_iteration": steps, "seconds_per_iteration": seconds}))


def measure(args: argparse.Namespace, groups: Sequence[Sequence[int]]) -> list[Record]:
    """Run groups of processes at the same time and return the record of each; a group trains together.

    Args:
        args: Of the command line.
        groups: Cores of each group's processes.

    Raises:
        RuntimeError: If a training fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for i, cores in enumerate(groups):
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={len(cores)}"]
            command += [__file__, "--worker", f"{folder}/{i}.json", "--cores", *map(str, cores), "--task", args.task]
            command += ["--warm_up", str(args.warm_up), "--iterations", str(args.iterations)]
            command += ["--settings", *args.settings]
            running.append(subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}))
        if any([process.wait() for process in running]):
            raise RuntimeError("A training failed; its error is above.")
        measured = [json.loads(Path(folder, f"{i}.json").read_text()) for i in range(len(groups))]
    return [
        {"cores": list(cores), "env_steps_per_second": rate(record), **record}
        for cores, record in zip(groups, measured, strict=True)
    ]


def rate(record: Mapping[str, Any]) -> float:
    """Return a run's environment steps per second, from the median iteration."""
    return record["env_steps_per_iteration"] / statistics.median(record["seconds_per_iteration"])


def efficiency(runs: Mapping[str, list[list[Record]]], name: str) -> float:
    """Return the share of the rate of :data:`ONE` that each process keeps, as the median over repeats.

    Args:
        runs: Setting to its repeats; each repeat lists the groups that ran at the same time.
        name: The setting.
    """
    shares = []
    for alone, others in zip(runs[ONE], runs[name], strict=True):
        processes = sum(len(group["cores"]) for group in others)
        shares.append(sum(map(rate, others)) / processes / sum(map(rate, alone)))
    return statistics.median(shares)


def main() -> None:
    """Measure all settings in turn, several times, and store the record."""
    parser = argument_parser(__doc__)
    parser.add_argument("--task", default=TASK)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warm_up", type=int, default=5, help="iterations before the measured ones, at least 1")
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--settings", nargs="*", default=[], help="overrides, for example env.num_envs=8")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        time_iterations(args)
        return
    if args.quick:
        args.repeats, args.warm_up, args.iterations = 1, 1, 2
    cores = sorted(os.sched_getaffinity(0))[: args.processes]
    if len(cores) < args.processes:
        parser.error(f"{args.processes} processes need as many cores; this process may use {len(cores)}.")
    settings = {ONE: [cores[:1]], TOGETHER: [cores], APART: [[core] for core in cores]}
    runs: dict[str, list[list[Record]]] = {name: [] for name in settings}
    for _ in range(args.repeats):
        for name, groups in settings.items():
            runs[name].append(measure(args, groups))
            print(f"{name}: {sum(map(rate, runs[name][-1])):.0f} env-steps/s", flush=True)
    about = {name: getattr(args, name) for name in ("task", "settings", "processes", "iterations", "warm_up")}
    shares = {name: efficiency(runs, name) for name in (TOGETHER, APART)}
    about |= {"processor": machine(), "versions": versions(), "efficiency": shares}
    chosen_results(args).write("scaling", about | {"runs": runs})
    for name, share in shares.items():
        print(f"{args.processes} processes {name}: {100.0 * share:.0f} % of the rate of one, each")


if __name__ == "__main__":
    main()
