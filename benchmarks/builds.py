# SPDX-License-Identifier: BSD-3-Clause
"""The speed of training with an earlier commit beside that of this one, taking turns on one machine.

    python benchmarks/builds.py --before 5a002bd

Each build runs in processes of its own, from a copy of its sources; both share the installed packages. Run it on an
otherwise idle machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from results import ROOT, Record, argument_parser, chosen_results, versions
from rich.progress import track
from speed_tables import builds

WARM_UP, ITERATIONS = 4, 12


class Case(NamedTuple):
    """What is trained."""

    algo: str
    task: str
    threads: int


CASES = [
    Case("trudi", "HalfCheetah-v5", 1),
    Case("trudi", "HalfCheetah-v5", 2),
    Case("reppo", "HalfCheetah-v5", 1),
    Case("trudi", "Hopper-v5", 1),
    Case("trudi", "PlanarObstacle-v0", 1),
]


def train(algo: str, task: str, threads: int, iterations: int) -> float:
    """Return the median environment steps per second of this process's build, after a warm-up."""
    import torch

    torch.set_num_threads(threads)
    from omegaconf import OmegaConf

    from trudi_rsl.config import compose
    from trudi_rsl.hosts.registry import make_env
    from trudi_rsl.runners import OnPolicyRunner

    with contextlib.redirect_stdout(io.StringIO()):
        cfg = compose(task, algo, settings={"agent.seed": 1, "agent.device": "cpu", "agent.num_threads": threads})
        torch.manual_seed(1)
        env = make_env(task, cfg.env, "cpu", 1)
        agent_cfg: dict[str, Any] = OmegaConf.to_container(cfg.agent)  # pyright: ignore[reportAssignmentType]
        runner = OnPolicyRunner(env, agent_cfg, None, "cpu")
        runner.learn(WARM_UP, init_at_random_ep_len=True)
        seconds = []
        for _ in range(iterations):
            start = time.perf_counter()
            runner.learn(1)
            seconds.append(time.perf_counter() - start)
    return cfg.agent.num_steps_per_env * cfg.env.num_envs / statistics.median(seconds)


def measured(sources: Path, case: Case, iterations: int) -> float:
    """Return the speed of the build whose packages are in ``sources``, in a process of its own.

    Raises:
        RuntimeError: With the process's errors, if it fails.
    """
    command = [sys.executable, __file__, "--worker", *map(str, case), str(iterations)]
    environment = os.environ | {"PYTHONPATH": str(sources), "OMP_NUM_THREADS": str(case.threads)}
    # a checkout of the package in the working folder must not shadow the build
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=sources, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def extracted(commit: str, folder: Path) -> Path:
    """Write a commit's files into a folder and return that of its packages."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder / "source"


def compare(commit: str, rounds: int, iterations: int, cases: Sequence[Case]) -> Record:
    """Return the speeds of both builds in every round, in turn."""
    from trudi_rsl.deploy.provenance import machine

    runs: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sources = {"before": extracted(commit, Path(folder)), "now": ROOT / "source"}
        for _ in track(range(rounds), "rounds"):
            for case in cases:
                for name, build in sources.items():
                    speeds = runs.setdefault(f"{case.algo}, {case.task}, {case.threads}", {})
                    speeds.setdefault(name, []).append(measured(build, case, iterations))
    about = {"before": commit, "iterations": iterations, "processor": machine(), "versions": versions()}
    return about | {"runs": runs}


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["--worker"]:
        algo, task, threads, iterations = sys.argv[2:]
        print(json.dumps(train(algo, task, int(threads), int(iterations))))
        return
    parser = argument_parser(__doc__)
    parser.add_argument("--before", required=True, metavar="COMMIT", help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--cases", nargs="+", type=int, default=range(len(CASES)), help="indices of CASES, all by default"
    )
    args = parser.parse_args()
    chosen = [CASES[index] for index in args.cases]
    rounds, iterations, cases = (1, 1, CASES[:1]) if args.quick else (args.rounds, ITERATIONS, chosen)
    result = compare(args.before, rounds, iterations, cases)
    results = chosen_results(args)
    results.write("builds", result)
    for row in builds(results):
        print(*row.values(), sep="  ")


if __name__ == "__main__":
    main()
