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
from collections import defaultdict
from typing import Any

import torch
from results import Record, argument_parser, chosen_results, processor, versions
from rich.progress import track
from throughput import TASK, Stopwatch, medians, timed_iteration, training, watched
from torch.profiler import ProfilerActivity, profile

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


INSIDE = {"_critic_gradient": "critic gradient", "_actor_gradient": "actor gradient"}
INSIDE |= {"_descend": "optimizer", "_dual_step": "optimizer"}
"""Methods of TruDi's learner and the part of the update that they are."""


def one_iteration(runner: OnPolicyRunner, watch: Stopwatch) -> dict[str, float]:
    """Train one iteration and return its seconds by part; the parts do not overlap."""
    seconds = timed_iteration(runner, watch)
    total, update = seconds.pop("iteration"), seconds.pop("update")
    seconds["rest of the update"] = update - sum(seconds.get(part, 0.0) for part in set(INSIDE.values()))
    return seconds | {"rest of the iteration": total - sum(seconds.values()), "iteration": total}


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
    with contextlib.redirect_stdout(io.StringIO()):
        runner, _ = training(args.task, args.algo, {"agent.seed": 1, "agent.device": args.device}, args.overrides)
        watch = watched(runner, INSIDE)
    measured = [one_iteration(runner, watch) for _ in track(range(warm_up + iterations), "training iterations")]
    record = {
        "task": args.task,
        "algo": args.algo,
        "overrides": args.overrides,
        "device": torch.cuda.get_device_name(args.device) if on_gpu else "cpu",
        "processor": processor(),
        "threads": args.threads,
        "versions": versions("torch", "rsl-rl-lib"),
        "iterations": iterations,
        "parts": medians(measured[warm_up:]),
        "operators": by_operator(runner, watch, on_gpu),
    }
    chosen_results(args).write("profile", record)
    for name, seconds in [*record["parts"].items(), *record["operators"]["classes"].items()]:
        print(f"{1e3 * seconds:10.1f} ms  {name}")


if __name__ == "__main__":
    main()
