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
from results import ALGORITHMS, Record, processor, versions
from rich.progress import track
from runs import main
from speed_subjects import path_kl_gradient
from timing import measured, synchronize

from trudi_rsl.algorithms import TruDi
from trudi_rsl.config import compose
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.runners.evaluation import CheckpointEvaluation

TASK = "HalfCheetah-v5"
WARM_UP, MEASURED = 5, 25
CASES = [("trudi", 1), ("ppo", 1), ("trudi", 2), ("ppo", 2)]
CASES += [(algo, 1) for algo in ALGORITHMS if algo not in ("trudi", "ppo")]
"""Algorithms and threads."""


class Stopwatch:
    """Sums the time spent in wrapped methods by name, with a GPU sync before each clock reading."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def wrap(self, holder: Any, method: str, name: str) -> None:
        """Time every call of ``holder.method`` under ``name``."""
        inner: Callable[..., Any] = getattr(holder, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            synchronize()
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                synchronize()
                self.seconds[name] += time.perf_counter() - start

        setattr(holder, method, timed)

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


def watched(runner: OnPolicyRunner, inside: dict[str, str]) -> Stopwatch:
    """Return a stopwatch on the parts of an iteration, and on methods of TruDi's learner inside the update."""
    watch, alg = Stopwatch(), runner.alg
    watch.wrap(runner.env, "step", "simulate")
    parts = {"act": "sample", "process_env_step": "store", "compute_returns": "targets", "update": "update"}
    for method, name in parts.items():
        watch.wrap(alg, method, name)
    # a captured update is one call, and a sync inside would break the capture
    if isinstance(alg, TruDi) and alg.learner.accelerator.mode != "cudagraphs":
        for method, name in inside.items():
            watch.wrap(alg.learner, method, name)
    return watch


def timed_iteration(runner: OnPolicyRunner, watch: Stopwatch) -> dict[str, float]:
    """Train one iteration and return its seconds by part, and under ``iteration``."""
    watch.read()
    synchronize()
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        runner.learn(1)
    synchronize()
    return watch.read() | {"iteration": time.perf_counter() - start}


def medians(iterations: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each part."""
    return {name: statistics.median(iteration[name] for iteration in iterations) for name in iterations[-1]}


def measure(algo: str, warm_up: int, iterations: int) -> Record:
    """Return medians over the iterations of one training run."""
    with contextlib.redirect_stdout(io.StringIO()):
        runner, cfg = training(TASK, algo, {"agent.seed": 1, "agent.device": "cpu"})
        watch = watched(runner, {"_critic_step": "critic step", "_actor_step": "actor step"})
        runner.learn(warm_up, init_at_random_ep_len=True)
    seconds = [timed_iteration(runner, watch) for _ in range(iterations)]
    steps = cfg.agent.num_steps_per_env * cfg.env.num_envs
    rates = [steps / iteration["iteration"] for iteration in seconds]
    record: Record = {
        "env_steps_per_second": steps / medians(seconds)["iteration"],
        "slowest_and_fastest": [min(rates), max(rates)],
        "seconds_per_iteration": medians(seconds),
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
        records[f"{algo}, {threads} thread{'s' * (threads > 1)}"] = measure(algo, *counts)
    about = {"task": TASK, "iterations": counts[1], "warm_up": counts[0], "processor": processor()}
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
            evaluation = CheckpointEvaluation(
                runner.evaluation_env, cfg.agent.evaluation_episodes, stopped=lambda: False
            )
            seconds = median_seconds(lambda e=evaluation, runner=runner: e.evaluate(runner), evaluations)
            evaluation.close()
        records[algo] = {
            "episodes": cfg.agent.evaluation_episodes,
            "save_interval": cfg.agent.save_interval,
            "evaluation_s": seconds,
            "iteration_s": iteration,
        }
    return {"task": TASK, "processor": processor(), "runs": records}


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
