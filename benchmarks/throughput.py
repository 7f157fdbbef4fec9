# SPDX-License-Identifier: BSD-3-Clause
"""Environment steps per second of training, where an iteration's time goes, and what evaluating a checkpoint costs.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --tables profile --device cuda --output /tmp/gpu agent.algorithm.compile=off

Run it on an otherwise idle machine. ``profile`` measures the parts of an iteration, and under torch's profiler, which
slows it down, the classes of operators.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import statistics
import sys
import tempfile
import time
import timeit
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from results import ALGORITHMS, Record, argument_parser, chosen_results, versions
from rich.progress import track
from speed_subjects import measured, path_kl_gradient, synchronize
from torch.profiler import ProfilerActivity, profile

from trudi_rsl.algorithms import TruDi
from trudi_rsl.config import compose
from trudi_rsl.deploy.provenance import machine
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.runners.evaluation import RateCheckpoints

TASK = "HalfCheetah-v5"
WARM_UP, MEASURED, PROFILED = 5, 25, 10
UNTUNED = "ppo untuned"
"""PPO with the preset of the tasks that it has not been tuned for."""
CASES = [("trudi", 1), ("ppo", 1), (UNTUNED, 1), ("trudi", 2), ("ppo", 2), (UNTUNED, 2)]
CASES += [(algo, 1) for algo in ALGORITHMS if algo not in ("trudi", "ppo")]
"""Algorithms and threads."""

NUM_TOP, MICROSECOND = 20, 1e-6
OTHER, HOST, PRODUCTS = "other operators", "Python and launches", "matrix products"
CLASSES = {
    "triton_tem": PRODUCTS,
    **dict.fromkeys(("cpp_fused", "triton_"), "compiled kernels"),
    **dict.fromkeys(("adam", "_foreach", "multi_tensor"), "optimizer"),
    **dict.fromkeys(("mm", "_linear", "cutlass", "nvjet", "cublas"), PRODUCTS),
}
"""Part of an operator's or kernel's name, and its class; the first match counts."""
GEMM = re.compile(r"MKL_VERBOSE [SD]GEMM\(\w+,\w+,(\d+),(\d+),(\d+),.*?\) ([\d.]+)(ns|us|ms|s)\b")
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
"""What MKL prints of a matrix product: sizes, and how long it took."""


INSIDE = {"_critic_gradient": "critic gradient", "_differentiate_actor": "actor gradient"}
INSIDE |= {"_descend": "optimizer", "_dual_step": "optimizer"}
COMPILED = {"_packed_update": "compiled update"}
"""Methods of TruDi's learner and the part of the update that they are: several, or one if it is compiled as a whole."""


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

    ``settings`` has dotted names, among them ``agent.seed`` and ``agent.device``; ``overrides`` are as typed.
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
        # a clock inside of compiled code would break its graph
        for method, name in (COMPILED if inside and hasattr(alg.learner, "_packed_update") else inside).items():
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


def measure(case: str, warm_up: int, iterations: int) -> Record:
    """Return medians over the iterations of one training run."""
    algo, overrides = ("ppo", ["preset=gymnasium"]) if case == UNTUNED else (case, [])
    with contextlib.redirect_stdout(io.StringIO()):
        runner, cfg = training(TASK, algo, {"agent.seed": 1, "agent.device": "cpu"}, overrides)
        watch = watched(runner, {})
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
    for case, threads in track(CASES[:2] if quick else CASES, "throughput"):
        torch.set_num_threads(threads)
        records[f"{case}, {threads} thread{'s' * (threads > 1)}"] = measure(case, *counts)
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
            iteration = statistics.median(timeit.repeat(partial(runner.learn, 1), number=1, repeat=iterations))
            rating = RateCheckpoints(None, stopped=lambda: False)
            rating.make_env(runner, cfg.agent.evaluation_episodes)
            evaluate = partial(rating.evaluate, runner, cfg.agent.evaluation_episodes)
            seconds = statistics.median(timeit.repeat(evaluate, number=1, repeat=evaluations))
            rating.on_end(runner)
        records[algo] = {
            "episodes": cfg.agent.evaluation_episodes,
            "save_interval": cfg.agent.save_interval,
            "evaluation_s": seconds,
            "iteration_s": iteration,
            "share_of_training": seconds / (cfg.agent.save_interval * iteration),
        }
    return {"task": TASK, "processor": machine(), "runs": records}


def one_iteration(runner: OnPolicyRunner, watch: Stopwatch) -> dict[str, float]:
    """Train one iteration and return its seconds by part; the parts do not overlap."""
    seconds = timed_iteration(runner, watch)
    total, update = seconds.pop("iteration"), seconds.pop("update")
    seconds["rest of the update"] = update - sum(
        seconds.get(part, 0.0) for part in {*INSIDE.values(), *COMPILED.values()}
    )
    return seconds | {"rest of the iteration": total - sum(seconds.values()), "iteration": total}


def matrix_products(runner: OnPolicyRunner) -> dict[str, float]:
    """Return ``calls``, ``seconds`` and ``gflop`` of the matrix products of one iteration on a CPU, by MKL's own clock.

    Torch's profiler does not see those of compiled functions.
    """
    with tempfile.TemporaryFile("w+") as printed:
        sys.stdout.flush()
        stdout = os.dup(1)
        os.dup2(printed.fileno(), 1)
        try:
            with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON), contextlib.redirect_stdout(io.StringIO()):
                runner.learn(1)
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
        printed.seek(0)
        found = [match.groups() for match in map(GEMM.match, printed) if match]
    return {
        "calls": len(found),
        "seconds": sum(float(spent) * UNITS[unit] for *_, spent, unit in found),
        "gflop": sum(2e-9 * int(m) * int(n) * int(k) for m, n, k, *_ in found),
    }


def by_operator(runner: OnPolicyRunner, watch: Stopwatch, on_gpu: bool) -> Record:
    """Profile one iteration.

    Returns:
        ``classes``: seconds by class. On a GPU those in which a kernel ran, on a CPU the operators' own; the rest of
        the iteration is :data:`HOST`.
        ``calls``: number of operators. ``slowest``: the slowest of them. On a CPU also the :func:`matrix_products`.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as recorded:
        seconds = one_iteration(runner, watch)
    classes: dict[str, float] = defaultdict(float)
    operators: list[dict[str, Any]] = []
    for event in recorded.key_averages():
        if on_gpu:
            counts, spent = event.device_type.name == "CUDA", event.self_device_time_total
        else:
            # other names are those of regions opened by Python
            counts, spent = "::" in event.key or "cpp_fused" in event.key, event.self_cpu_time_total
        if counts:
            found = (label for word, label in CLASSES.items() if word in event.key.lower())
            classes[next(found, OTHER)] += MICROSECOND * spent
            operators.append({"name": event.key[:80], "calls": event.count, "seconds": MICROSECOND * spent})
    products: dict[str, Any] = {}
    if not on_gpu and torch.backends.mkl.is_available():
        products = {"products": matrix_products(runner)}
        classes[PRODUCTS] = products["products"]["seconds"]
    classes["simulate"] = seconds["simulate"]
    classes[HOST] = seconds["iteration"] - sum(classes.values())
    slowest = sorted(operators, key=lambda row: -row["seconds"])[:NUM_TOP]
    return {"classes": dict(classes), "calls": sum(row["calls"] for row in operators), "slowest": slowest} | products


def profile_iteration(
    quick: bool, task: str = TASK, algo: str = "trudi", device: str = "cpu", overrides: Sequence[str] = ()
) -> Record:
    """Return where an iteration's time goes: medians by part, and classes of operators of one more iteration."""
    warm_up, iterations = (1, 1) if quick else (WARM_UP, PROFILED)
    on_gpu = torch.device(device).type == "cuda"
    torch.set_num_threads(1)

    def start() -> tuple[OnPolicyRunner, Stopwatch]:
        with contextlib.redirect_stdout(io.StringIO()):
            runner, _ = training(task, algo, {"agent.seed": 1, "agent.device": device}, overrides)
            return runner, watched(runner, INSIDE)

    runner, watch = start()
    measured = [one_iteration(runner, watch) for _ in track(range(warm_up + iterations), "training iterations")]
    # lets the profiler see the names of generated kernels, which become slower by it
    torch._dynamo.reset()
    torch._inductor.config.cpp.enable_kernel_profile = True  # pyright: ignore[reportAttributeAccessIssue]
    runner, watch = start()
    for _ in range(warm_up):
        one_iteration(runner, watch)
    record = {
        "task": task,
        "algo": algo,
        "overrides": list(overrides),
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "processor": machine(),
        "versions": versions("torch", "rsl-rl-lib"),
        "iterations": iterations,
        "parts": medians(measured[warm_up:]),
        "operators": by_operator(runner, watch, on_gpu),
    }
    for name, seconds in [*record["parts"].items(), *record["operators"]["classes"].items()]:
        print(f"{1e3 * seconds:10.1f} ms  {name}")
    return record


if __name__ == "__main__":
    tables: dict[str, Callable[..., Record]] = {"throughput": throughput, "evaluation_cost": evaluation_cost}
    parser = argument_parser(__doc__)
    parser.add_argument("--tables", nargs="+", choices=[*tables, "profile"], default=[*tables, "profile"])
    parser.add_argument("--task", default=TASK, help="Gymnasium id, for the profile")
    parser.add_argument("--algo", choices=["trudi", "ppo"], default="trudi", help="for the profile")
    parser.add_argument("--device", default="cpu", help="for the profile")
    parser.add_argument("overrides", nargs="*", metavar="NAME=VALUE", help="settings for the profile")
    args = parser.parse_intermixed_args()
    tables["profile"] = partial(
        profile_iteration, task=args.task, algo=args.algo, device=args.device, overrides=args.overrides
    )
    results = chosen_results(args)
    for table in args.tables:
        results.write(table, tables[table](args.quick))
