# SPDX-License-Identifier: BSD-3-Clause
"""Training with an earlier commit beside this one on one machine: speed, and what both learn at the same seeds.

    python benchmarks/builds.py --before 5a002bd
    python benchmarks/builds.py --before 62f4c3e --returns 10

Each build runs in processes of its own, from a copy of its sources; both share the installed packages. For speeds, the
builds take turns; run it on an otherwise idle machine. ``--returns`` trains TruDi with its presets for that many seeds
instead, skips what is stored, and keeps the runs of builds with other names.
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

from results import ROOT, Record, Results, argument_parser, chosen_results, run_key, versions
from rich.progress import track

WARM_UP, ITERATIONS = 4, 12
TASKS = ("HalfCheetah-v5", "Hopper-v5")
RETURNS = "builds_returns"
"""Tasks of ``--returns``, and their result file."""
UPRIGHT_TASK, PITCH, UPRIGHT_ENVS, UPRIGHT_STEPS = "HalfCheetah-v5", 1, 8, 500
"""A task with two gaits, the observation that separates them, and the environments and steps to look at."""


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


def pitch_cosine(checkpoint: Path) -> float:
    """Return the mean cosine of HalfCheetah's pitch under a policy without noise: near 1 upright, -1 on its back."""
    import gymnasium
    import numpy as np
    import torch
    from tensordict import TensorDict

    from trudi_rsl.checkpoints.rebuild import load_actor_critic

    model, _ = load_actor_critic(checkpoint)
    model.eval()
    cosines = []
    envs = gymnasium.make_vec(UPRIGHT_TASK, UPRIGHT_ENVS, vectorization_mode="sync")
    with contextlib.closing(envs), torch.inference_mode():
        obs, _ = envs.reset(seed=0)
        for _ in range(UPRIGHT_STEPS):
            groups = TensorDict({"policy": torch.as_tensor(obs, dtype=torch.float32)}, batch_size=[UPRIGHT_ENVS])
            obs, *_ = envs.step(model.act(groups).numpy())
            cosines.append(np.cos(obs[:, PITCH]).mean())
    return round(float(np.mean(cosines)), 3)


def learned(sources: Path, task: str, seed: int, iterations: int | None) -> Record:
    """Return the learning curve of TruDi with the build whose packages are in ``sources``, and how upright it runs."""
    from runs import one_thread, run_folder

    command = [sys.executable, "-m", "trudi_rsl", "train", "--task", task, "--algo", "trudi", "--seed", str(seed)]
    command += ["--device", "cpu", "--headless", *(["--max_iterations", str(iterations)] if iterations else [])]
    with tempfile.TemporaryDirectory() as folder:
        environment = one_thread() | {"PYTHONPATH": str(sources)}
        subprocess.run(command, env=environment, capture_output=True, cwd=folder, check=True)
        return curve_and_gait(run_folder(Path(folder)), task)


def curve_and_gait(run: Path, task: str) -> Record:
    """Return the learning curve of a run folder, and HalfCheetah's :func:`pitch_cosine` at its end."""
    from runs import LOGGED, learning_curve

    from trudi_rsl.config.event_file import read_run
    from trudi_rsl.config.run_folder import newest_checkpoint

    gait = {"pitch_cosine": pitch_cosine(newest_checkpoint(run))} if task == UPRIGHT_TASK else {}
    return learning_curve(read_run(run, LOGGED)) | gait


def compare_returns(results: Results, commit: str, name: str, seeds: int, iterations: int | None) -> None:
    """Train both builds, this one called ``name``, with the seeds 1 to ``seeds`` and store what is missing."""
    stored = {run_key(run) for run in results.runs(RETURNS)}
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    commits = {"before": commit, name: head.stdout.strip()}
    runs = [(task, build, seed) for seed in range(1, seeds + 1) for task in TASKS for build in commits]
    with tempfile.TemporaryDirectory() as folder:
        sources = {"before": extracted(commit, Path(folder)), name: ROOT / "source"}
        for task, build, seed in track(runs, "runs"):
            record = {"task": task, "algo": "trudi", "variant": build, "seed": seed, "commit": commits[build]}
            if run_key(record) not in stored:
                results.add(RETURNS, record | learned(sources[build], task, seed, iterations))


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["--worker"]:
        algo, task, threads, iterations = sys.argv[2:]
        print(json.dumps(train(algo, task, int(threads), int(iterations))))
        return
    # a worker's build may lack what these import
    from runs import QUICK_ITERATIONS
    from speed_tables import builds, builds_returns

    parser = argument_parser(__doc__)
    parser.add_argument("--before", required=True, metavar="COMMIT", help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--cases", nargs="+", type=int, default=range(len(CASES)), help="indices of CASES, all by default"
    )
    parser.add_argument("--returns", type=int, metavar="SEEDS", help="compare training returns instead of speeds")
    parser.add_argument("--name", default="now", help="name of this build among returns")
    args = parser.parse_args()
    results = chosen_results(args)
    if args.returns:
        compare_returns(results, args.before, args.name, args.returns, QUICK_ITERATIONS if args.quick else None)
        for row in builds_returns(results):
            print(*row.values(), sep="  ")
        return
    chosen = [CASES[index] for index in args.cases]
    rounds, iterations, cases = (1, 1, CASES[:1]) if args.quick else (args.rounds, ITERATIONS, chosen)
    results.write("builds", compare(args.before, rounds, iterations, cases))
    for row in builds(results):
        print(*row.values(), sep="  ")


if __name__ == "__main__":
    main()
