# SPDX-License-Identifier: BSD-3-Clause
"""Where one training iteration's time goes, by part and by class of operator, to compare before and after a change.

    python benchmarks/profile_iteration.py --label before agent.algorithm.compile=off
    python benchmarks/profile_iteration.py --label after

Writes ``benchmarks/results/profile_<label>.json``. Parts are medians of iterations that nothing records; classes come
from torch's profiler over one more iteration, which recording slows down.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jobs import HALF_CHEETAH
from rich.console import Console
from rich.progress import track
from rich.table import Table
from throughput import Stopwatch, processor, training
from timing import synchronize
from torch.profiler import ProfilerActivity, profile

from trudi_rsl.algorithms import TruDi
from trudi_rsl.runners import OnPolicyRunner

RESULTS = Path(__file__).resolve().parent / "results"
WARM_UP = 4
MICROSECOND = 1e-6
NUM_TOP = 20

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
"""What a name of an operator or kernel contains, and its class; the first that fits decides."""
OTHER, HOST = "other operators", "Python and launches"


def watched(runner: OnPolicyRunner) -> Stopwatch:
    """Return a stopwatch on the parts of an iteration; what it says of ``update`` includes the parts inside."""
    watch, alg = Stopwatch(synchronize), runner.alg
    watch.wrap(runner.env, "step", "simulate")
    watch.wrap(alg, "act", "sample")
    watch.wrap(alg, "process_env_step", "store")
    watch.wrap(alg, "compute_returns", "targets")
    watch.wrap(alg, "update", "update")
    # a captured update is one call, and waiting for the device inside would break its capture
    if isinstance(alg, TruDi) and alg.learner.accelerator.mode != "cudagraphs":
        watch.wrap(alg.learner, "_critic_gradient", "critic gradient")
        watch.wrap(alg.learner, "_actor_gradient", "actor gradient")
        watch.wrap(alg.learner, "_descend", "optimizer")
        watch.wrap(alg.learner, "_dual_step", "optimizer")
    return watch


def one_iteration(runner: OnPolicyRunner, watch: Stopwatch) -> dict[str, float]:
    """Train one iteration and return its seconds by part, parts that overlap no other."""
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


def class_of(name: str) -> str:
    """Return the class of an operator or kernel."""
    lower = name.lower()
    return next((label for word, label in CLASSES if word in lower), OTHER)


def by_operator(runner: OnPolicyRunner, watch: Stopwatch, on_gpu: bool) -> dict[str, Any]:
    """Profile one iteration.

    Returns:
        Its seconds by class: on a GPU those in which a kernel ran, and the rest as ``HOST``; on a CPU the operators'
        own, and the rest. Beside them the slowest operators.
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
            # any other name is that of a region which Python opened
            counts, spent = "::" in event.key or "cpp_fused" in event.key, event.self_cpu_time_total
        if counts:
            classes[class_of(event.key)] += MICROSECOND * spent
            operators.append({"name": event.key[:80], "calls": event.count, "seconds": MICROSECOND * spent})
    classes["simulate"] = seconds["simulate"]
    classes[HOST] = seconds["iteration"] - sum(classes.values())
    slowest = sorted(operators, key=lambda row: -row["seconds"])[:NUM_TOP]
    return {"classes": dict(classes), "calls": sum(row["calls"] for row in operators), "slowest": slowest}


def commit() -> str | None:
    """Return the commit that the code is of, with a plus if it has been changed since; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty=+"]
    done = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def show(record: dict[str, Any]) -> None:
    """Print both tables of a record."""
    for title, seconds in (("part", record["parts"]), ("operators, recorded", record["operators"]["classes"])):
        table = Table(title, "ms", "share")
        total = seconds.get("iteration", sum(seconds.values()))
        for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
            table.add_row(name, f"{1e3 * value:.1f}", f"{100 * value / total:.0f} %")
        Console().print(table)


def main() -> None:
    """Measure, store and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--label", choices=["before", "after"], required=True)
    parser.add_argument("--task", default=HALF_CHEETAH, help="Gymnasium task")
    parser.add_argument("--algo", choices=["trudi", "ppo"], default="trudi")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=10, help="iterations to take medians over")
    parser.add_argument("--output", type=Path, help="JSON file, by default in benchmarks/results")
    parser.add_argument("overrides", nargs="*", metavar="NAME=VALUE", help="settings as of scripts/train.py")
    args = parser.parse_intermixed_args()
    on_gpu = torch.device(args.device).type == "cuda"
    # generated code then names itself to the profiler
    torch._inductor.config.cpp.enable_kernel_profile = True  # pyright: ignore[reportAttributeAccessIssue]
    torch.set_num_threads(args.threads)
    settings = {"agent.seed": 1, "agent.device": args.device}
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet:
        runner, _ = training(args.task, args.algo, settings, args.overrides)
        watch = watched(runner)
    iterations = []
    for _ in track(range(WARM_UP + args.iterations), "training iterations"):
        with quiet:
            iterations.append(one_iteration(runner, watch))
    with quiet:
        operators = by_operator(runner, watch, on_gpu)
    parts = {name: statistics.median(i[name] for i in iterations[WARM_UP:]) for name in iterations[-1]}
    record = {
        "label": args.label,
        "task": args.task,
        "algo": args.algo,
        "overrides": args.overrides,
        "device": torch.cuda.get_device_name(args.device) if on_gpu else "cpu",
        "processor": processor(),
        "threads": args.threads,
        "commit": commit(),
        "versions": {p: version(p) for p in ("torch", "rsl-rl-lib")},
        "iterations": args.iterations,
        "parts": parts,
        "operators": operators,
    }
    output = args.output or RESULTS / f"profile_{args.label}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record, indent=1) + "\n")
    show(record)
    print(f"Wrote {output}.")


if __name__ == "__main__":
    main()
