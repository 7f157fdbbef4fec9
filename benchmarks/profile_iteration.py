# SPDX-License-Identifier: BSD-3-Clause
"""Where one training iteration's time goes, by part and by class of operator.

    python benchmarks/profile_iteration.py
    python benchmarks/profile_iteration.py --device cuda --output /tmp/gpu agent.algorithm.compile=off

Parts are medians over iterations without the profiler. Classes come from one more iteration under torch's profiler,
which slows it down.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections import defaultdict
from typing import Any

import torch
from results import Record, argument_parser, chosen_results, versions
from rich.console import Console
from rich.progress import track
from rich.table import Table
from throughput import TASK, Stopwatch, training
from timing import synchronize
from torch.profiler import ProfilerActivity, profile

from trudi_rsl.algorithms import TruDi
from trudi_rsl.deploy.provenance import machine
from trudi_rsl.runners import OnPolicyRunner

WARM_UP, NUM_TOP, MICROSECOND = 4, 20, 1e-6
CLASSES = (
    ("triton_tem", "matrix products"),
    ("cpp_fused", "compiled kernels"),
    ("triton_", "compiled kernels"),
    ("adam", "optimizer"),
    ("_foreach", "optimizer"),
    ("multi_tensor", "optimizer"),
    ("mm", "matrix products"),
    ("_linear", "matrix products"),
    ("cutlass", "matrix products"),
    ("nvjet", "matrix products"),
    ("cublas", "matrix products"),
)
"""Part of an operator's or kernel's name, and its class; the first match counts."""
OTHER, HOST = "other operators", "Python and launches"


def watched(runner: OnPolicyRunner) -> Stopwatch:
    """Return a stopwatch on the parts of an iteration; ``update`` includes the parts inside it."""
    watch, alg = Stopwatch(synchronize), runner.alg
    watch.wrap_iteration(runner)
    # a captured update is one call, and a sync inside would break the capture
    if isinstance(alg, TruDi) and alg.learner.accelerator.mode != "cudagraphs":
        watch.wrap(alg.learner, "_critic_gradient", "critic gradient")
        watch.wrap(alg.learner, "_actor_gradient", "actor gradient")
        watch.wrap(alg.learner, "_descend", "optimizer")
        watch.wrap(alg.learner, "_dual_step", "optimizer")
    return watch


def one_iteration(runner: OnPolicyRunner, watch: Stopwatch) -> dict[str, float]:
    """Train one iteration and return its seconds by part; the parts do not overlap."""
    synchronize()
    start = time.perf_counter()
    runner.learn(1)
    synchronize()
    total = time.perf_counter() - start
    seconds = watch.read()
    inside = sum(seconds.get(part, 0.0) for part in ("critic gradient", "actor gradient", "optimizer"))
    seconds["rest of the update"] = seconds.pop("update") - inside
    seconds["rest of the iteration"] = total - sum(seconds.values())
    return seconds | {"iteration": total}


def by_operator(runner: OnPolicyRunner, watch: Stopwatch, on_gpu: bool) -> Record:
    """Profile one iteration.

    Returns:
        ``classes``: seconds by class. On a GPU those in which a kernel ran, on a CPU the operators' own; the rest of
        the iteration is :data:`HOST`.
        ``calls``: number of operators. ``slowest``: the slowest of them.
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
            found = (label for word, label in CLASSES if word in event.key.lower())
            classes[next(found, OTHER)] += MICROSECOND * spent
            operators.append({"name": event.key[:80], "calls": event.count, "seconds": MICROSECOND * spent})
    classes["simulate"] = seconds["simulate"]
    classes[HOST] = seconds["iteration"] - sum(classes.values())
    slowest = sorted(operators, key=lambda row: -row["seconds"])[:NUM_TOP]
    return {"classes": dict(classes), "calls": sum(row["calls"] for row in operators), "slowest": slowest}


def show(record: Record) -> None:
    """Print both tables of a record."""
    for title, seconds in (("part", record["parts"]), ("operators, profiled", record["operators"]["classes"])):
        table = Table(title, "ms", "share")
        total = seconds.get("iteration", sum(seconds.values()))
        for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
            table.add_row(name, f"{1e3 * value:.1f}", f"{100 * value / total:.0f} %")
        Console().print(table)


def main() -> None:
    """Measure, store and print."""
    parser = argument_parser(__doc__)
    parser.add_argument("--task", default=TASK, help="Gymnasium id")
    parser.add_argument("--algo", choices=["trudi", "ppo"], default="trudi")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=10, help="iterations to take medians over")
    parser.add_argument("overrides", nargs="*", metavar="NAME=VALUE", help="settings as for scripts/train.py")
    args = parser.parse_intermixed_args()
    warm_up, iterations = (1, 1) if args.quick else (WARM_UP, args.iterations)
    on_gpu = torch.device(args.device).type == "cuda"
    # lets the profiler see the names of generated kernels
    torch._inductor.config.cpp.enable_kernel_profile = True  # pyright: ignore[reportAttributeAccessIssue]
    torch.set_num_threads(args.threads)
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet:
        runner, _ = training(args.task, args.algo, {"agent.seed": 1, "agent.device": args.device}, args.overrides)
        watch = watched(runner)
    measured = []
    for _ in track(range(warm_up + iterations), "training iterations"):
        with quiet:
            measured.append(one_iteration(runner, watch))
    with quiet:
        operators = by_operator(runner, watch, on_gpu)
    record = {
        "task": args.task,
        "algo": args.algo,
        "overrides": args.overrides,
        "device": torch.cuda.get_device_name(args.device) if on_gpu else "cpu",
        "processor": machine(),
        "threads": args.threads,
        "versions": versions("torch", "rsl-rl-lib"),
        "iterations": iterations,
        "parts": {name: statistics.median(i[name] for i in measured[warm_up:]) for name in measured[-1]},
        "operators": operators,
    }
    chosen_results(args).write("profile", record)
    show(record)


if __name__ == "__main__":
    main()
