# SPDX-License-Identifier: BSD-3-Clause
"""Environment steps per second of training, where an iteration's time goes, and what evaluating a checkpoint costs.

    python benchmarks/throughput.py

Run it on an otherwise idle machine.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from results import ALGORITHMS, Record, versions
from rich.progress import track
from runs import main
from speed_subjects import path_kl_gradient
from timing import measured

from trudi_rsl.algorithms import TruDi
from trudi_rsl.config import compose
from trudi_rsl.deploy.provenance import machine
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.runners.evaluation import RateCheckpoints

TASK = "HalfCheetah-v5"
WARM_UP, MEASURED = 5, 25
CASES = [("trudi", 1), ("ppo", 1), ("trudi", 2), ("ppo", 2)]
CASES += [(algo, 1) for algo in ALGORITHMS if algo not in ("trudi", "ppo")]
"""Algorithms and threads."""


class Stopwatch:
    """Sums the time spent in wrapped methods, per name and iteration.

    Args:
        synchronize: Called before each clock reading; on a GPU it must wait for the running kernels.
    """

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self.synchronize = synchronize
        self.seconds: dict[str, float] = defaultdict(float)

    def wrap(self, holder: Any, method: str, name: str) -> None:
        """Time every call of ``holder.method`` under ``name``."""
        inner: Callable[..., Any] = getattr(holder, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.synchronize()
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.synchronize()
                self.seconds[name] += time.perf_counter() - start

        setattr(holder, method, timed)

    def wrap_iteration(self, runner: OnPolicyRunner) -> None:
        """Time the parts of an iteration."""
        self.wrap(runner.env, "step", "simulate")
        self.wrap(runner.alg, "act", "sample")
        self.wrap(runner.alg, "process_env_step", "store")
        self.wrap(runner.alg, "compute_returns", "targets")
        self.wrap(runner.alg, "update", "update")

    def read(self) -> dict[str, float]:
        """Return the sums since the last call."""
        seconds, self.seconds = dict(self.seconds), defaultdict(float)
        return seconds


def training(
    task: str, algo: str, settings: dict[str, Any], overrides: Sequence[str] = ()
) -> tuple[OnPolicyRunner, DictConfig]:
    """Return a runner as ``scripts/train.py`` builds it, without a log folder, and its configuration.

    Args:
        task: Gymnasium id.
        algo: Algorithm.
        settings: Settings by dotted name, among them ``agent.seed`` and ``agent.device``.
        overrides: Further settings, as typed on a command line.
    """
    cfg = compose(task, algo, overrides, settings=settings)
    agent_cfg: dict[str, Any] = OmegaConf.to_container(cfg.agent)  # pyright: ignore[reportAssignmentType]
    torch.manual_seed(cfg.agent.seed)
    env = make_env(task, cfg.env, cfg.agent.device, cfg.agent.seed)
    return OnPolicyRunner(env, agent_cfg, None, cfg.agent.device), cfg


def measure(algo: str, warm_up: int = WARM_UP, iterations: int = MEASURED) -> Record:
    """Return medians over the iterations of one training run."""
    runner, cfg = training(TASK, algo, {"agent.seed": 1, "agent.device": "cpu"})
    watch = Stopwatch()
    watch.wrap_iteration(runner)
    if isinstance(runner.alg, TruDi):
        watch.wrap(runner.alg.learner, "_critic_step", "critic step")
        watch.wrap(runner.alg.learner, "_actor_step", "actor step")
    seconds: dict[str, list[float]] = defaultdict(list)
    runner.learn(warm_up, init_at_random_ep_len=True)
    watch.read()
    for _ in range(iterations):
        start = time.perf_counter()
        runner.learn(1)
        seconds["iteration"].append(time.perf_counter() - start)
        for name, spent in watch.read().items():
            seconds[name].append(spent)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    steps = cfg.agent.num_steps_per_env * cfg.env.num_envs
    record: Record = {
        "env_steps_per_second": steps / medians["iteration"],
        "slowest_and_fastest": [steps / max(seconds["iteration"]), steps / min(seconds["iteration"])],
        "seconds_per_iteration": medians,
        "env_steps_per_iteration": steps,
    }
    if isinstance(runner.alg, TruDi):
        if algo == "trudi":
            record["path_kl_ms"] = measured(path_kl_gradient(runner.alg), min_seconds=1.0).median
        record["minibatch_updates_per_iteration"] = runner.alg.cfg.num_learning_epochs * runner.alg.cfg.num_mini_batches
    return record


def throughput(quick: bool) -> Record:
    """Measure all cases one after the other."""
    counts = (1, 1) if quick else (WARM_UP, MEASURED)
    records = {}
    for algo, threads in track(CASES[:2] if quick else CASES, "throughput"):
        torch.set_num_threads(threads)
        with contextlib.redirect_stdout(io.StringIO()):
            records[f"{algo}, {threads} thread{'s' * (threads > 1)}"] = measure(algo, *counts)
    about = {"task": TASK, "iterations": counts[1], "warm_up": counts[0], "processor": machine()}
    return about | {"versions": versions(), "runs": records}


def evaluation_cost(quick: bool) -> Record:
    """Return the seconds of an evaluation during training and of an iteration, for each algorithm on one thread."""
    warm_up, iterations, evaluations = (1, 1, 1) if quick else (2, 5, 3)
    torch.set_num_threads(1)
    records = {}
    for algo in track(list(ALGORITHMS)[: 1 if quick else None], "evaluation cost"):
        runner, cfg = training(TASK, algo, {"agent.seed": 1, "agent.device": "cpu"})
        with contextlib.redirect_stdout(io.StringIO()):
            runner.learn(warm_up, init_at_random_ep_len=True)
            iteration = median_seconds(lambda runner=runner: runner.learn(1), iterations)
            rating = RateCheckpoints(None, stopped=lambda: False)
            rating.make_env(runner, cfg.agent.evaluation_episodes)
            seconds = median_seconds(lambda rating=rating, runner=runner: rating.evaluate(runner), evaluations)
            rating.on_end(runner)
        records[algo] = {
            "episodes": cfg.agent.evaluation_episodes,
            "save_interval": cfg.agent.save_interval,
            "evaluation_s": seconds,
            "iteration_s": iteration,
        }
    return {"task": TASK, "processor": machine(), "runs": records}


def median_seconds(work: Callable[[], Any], times: int) -> float:
    """Return the median seconds of a call that is repeated."""
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        spans.append(time.perf_counter() - start)
    return statistics.median(spans)


if __name__ == "__main__":
    main(__doc__, {}, {"throughput": throughput, "evaluation_cost": evaluation_cost})
