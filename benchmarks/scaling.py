# SPDX-License-Identifier: BSD-3-Clause
"""Environment steps per second of TruDi in one process on one core, and in several that train together on as many.

    python benchmarks/scaling.py

Each process has the same number of environments and one thread. The efficiency is the rate of the processes together
divided by their number and by the rate of one. As many independent trainings at the same time are measured, too: what
they lose, they lose to the shared machine and not to synchronization. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from results import Record, argument_parser, chosen_results, versions
from runs import Job, one_thread, run_folder

from trudi_rsl.config.event_file import SECONDS_TAGS, read_run
from trudi_rsl.deploy.provenance import machine

TASK = "HalfCheetah-v5"
ONE, TOGETHER, APART = "one process", "together", "at the same time, each by itself"


def measure(groups: Sequence[Sequence[int]], settings: Sequence[str], warm_up: int, iterations: int) -> list[Record]:
    """Run groups of processes, given by their cores, at the same time and return the record of each group.

    The processes of a group train together. A failed training raises RuntimeError.
    """
    records, running = [], []
    with tempfile.TemporaryDirectory() as name:
        for seed, cores in enumerate(groups, start=1):
            folder = Path(name, str(seed))
            folder.mkdir()
            job = Job(TASK, "trudi", "preset", seed, tuple(settings), warm_up + iterations)
            train = job.command("--distributed", "agent.num_threads=1", "agent.evaluation_episodes=null")
            command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={len(cores)}"]
            command = ["taskset", "--cpu-list", ",".join(map(str, cores)), *command, *train[1:]]
            running.append(subprocess.Popen(command, cwd=folder, env=one_thread(), stdout=subprocess.DEVNULL))
        if any([process.wait() for process in running]):
            raise RuntimeError("A training failed; its error is above.")
        for seed, cores in enumerate(groups, start=1):
            log = read_run(run_folder(Path(name, str(seed))), SECONDS_TAGS)
            seconds = np.sum([log.scalars[tag][1] for tag in SECONDS_TAGS], axis=0)[warm_up:].tolist()
            steps = len(cores) * int(log.env_steps(np.zeros(1))[0])
            record = {"cores": list(cores), "env_steps_per_iteration": steps, "seconds_per_iteration": seconds}
            records.append(record | {"env_steps_per_second": rate(record)})
    return records


def rate(record: Mapping[str, Any]) -> float:
    """Return a run's environment steps per second, from the median iteration."""
    return record["env_steps_per_iteration"] / statistics.median(record["seconds_per_iteration"])


def efficiency(runs: Mapping[str, list[list[Record]]], name: str) -> float:
    """Return the share of the rate of :data:`ONE` that each process keeps in a setting, as the median over repeats.

    ``runs`` maps a setting to its repeats; each repeat lists the groups that ran at the same time.
    """
    shares = []
    for alone, others in zip(runs[ONE], runs[name], strict=True):
        processes = sum(len(group["cores"]) for group in others)
        shares.append(sum(map(rate, others)) / processes / sum(map(rate, alone)))
    return statistics.median(shares)


def main() -> None:
    """Measure all settings in turn, several times, and store the record."""
    parser = argument_parser(__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--settings", nargs="*", default=[], help="overrides, for example env.num_envs=8")
    args = parser.parse_args()
    repeats, warm_up, iterations = (1, 1, 2) if args.quick else (3, 5, 25)
    cores = sorted(os.sched_getaffinity(0))[: args.processes]
    if len(cores) < args.processes:
        parser.error(f"{args.processes} processes need as many cores; this process may use {len(cores)}.")
    cases = {ONE: [cores[:1]], TOGETHER: [cores], APART: [[core] for core in cores]}
    runs: dict[str, list[list[Record]]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, groups in cases.items():
            runs[name].append(measure(groups, args.settings, warm_up, iterations))
            print(f"{name}: {sum(map(rate, runs[name][-1])):.0f} env-steps/s", flush=True)
    result = {"task": TASK, "settings": args.settings, "processes": args.processes, "iterations": iterations}
    result |= {"warm_up": warm_up, "processor": machine(), "versions": versions()}
    result["efficiency"] = {name: efficiency(runs, name) for name in (TOGETHER, APART)}
    chosen_results(args).write("scaling", result | {"runs": runs})
    print(*(f"{name}: {100.0 * share:.0f} % each" for name, share in result["efficiency"].items()), sep="\n")


if __name__ == "__main__":
    main()
