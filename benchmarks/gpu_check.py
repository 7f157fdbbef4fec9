# SPDX-License-Identifier: BSD-3-Clause
"""The first minutes on a GPU: speed, memory, syncs and rounding of captured training, and the tests that need a GPU.

    python benchmarks/gpu_check.py                   # at most 9 minutes; benchmarks/results/gpu_check.json
    python benchmarks/gpu_check.py --device cpu --quick    # whether the script itself works

Sections are measured most valuable first and stored one by one. One that fails is stored with its error, and none
begins without time left for the tests. Sizes are those of a humanoid in Isaac Lab or mjlab: 4096 environments, 37
actions, minibatches of 16,384.
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from results import ROOT, Record, argument_parser, chosen_results
from speed_plan import Shape, Variant
from speed_subjects import BIG_GEMM, check_fast, collect, gemm_rate, make_trudi, measured, synchronize
from torch.autograd.profiler_util import DeviceType  # pyright: ignore[reportPrivateImportUsage]
from torch.profiler import ProfilerActivity, profile

from trudi_rsl.acceleration import Accelerator, set_matmul_precision
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.learner import Learner
from trudi_rsl.algorithms.trust_region import replay_error, step_sizes_of
from trudi_rsl.settings import Precision
from trudi_rsl.storage import BatchRows

HUMANOID = Shape(4096, 8, num_obs=310, num_actions=37, width=512, num_denoise_steps=8, num_mini_batches=2, num_epochs=1)
SMALL = Shape(8, 4, num_obs=5, num_actions=3, width=8, num_denoise_steps=2, num_mini_batches=2, num_epochs=1)
CASES: tuple[tuple[str, Precision], ...] = (
    *(("trudi", "tf32"), ("reppo", "tf32"), ("trudi", "bf16"), ("trudi", "fp32")),
    ("reppo", "fp32"),
)
SECONDS = 0.5
"""Minimum time for which a function is repeated."""
TESTS_SECONDS = 150.0
"""Time to leave for the tests."""
ITERATION = {"steps": 64, "minibatches": 64, "simulator_s": 2.8}
"""A training's iteration, for which the summary adds up what was measured; the simulator's time is an assumption."""
GIB = 2**30


@dataclass(frozen=True)
class Setup:
    """What a run of this script measures on."""

    device: str
    shape: Shape

    @property
    def on_gpu(self) -> bool:
        """Whether functions are captured and memory is measured."""
        return torch.device(self.device).type == "cuda"


def versions(setup: Setup) -> Record:
    """Return the device, versions of packages, and TFLOP/s of large matrix products."""
    found: Record = {"device": torch.cuda.get_device_name(setup.device) if setup.on_gpu else "cpu"}
    for package in ("torch", "triton", "rsl-rl-lib", "tensordict"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if setup.on_gpu:
        side, threads = BIG_GEMM["cuda"], torch.get_num_threads()
        rates = {p: gemm_rate(p, setup.device, threads, side, side, side) for p in ("fp32", "tf32", "bf16")}
        found["gemm_tflops"] = {name: 1e-12 * rate for name, rate in rates.items()}
    return found


def training(setup: Setup, algo: str, precision: Precision) -> Record:
    """Return times, memory, rounding and syncs of captured training."""
    set_matmul_precision(precision, setup.device)
    if setup.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    variant = Variant("diffusion" if algo == "trudi" else "gaussian", "captured" if setup.on_gpu else "eager")
    variant = Variant(variant.actor, variant.mode, precision=precision)
    start = time.perf_counter()
    alg, env = make_trudi(setup.shape, variant, setup.device)
    collect(alg, env, setup.shape.num_steps)
    rows = next(alg.storage.index_batches(1, setup.shape.num_mini_batches))
    old_steps = step_sizes_of(alg.actor_critic.old_actor)
    _move(alg)
    found: Record = {"replay_kl": _replay_kl(alg, precision)}
    alg._update(rows, old_steps)
    synchronize()
    found["first_calls_s"] = time.perf_counter() - start
    act = _acting(alg, env)
    update = lambda: alg._update(rows, old_steps)  # noqa: E731
    found["ms"] = {name: measured(call, SECONDS).median for name, call in {"act": act, "minibatch": update}.items()}
    check_fast(alg)
    found["captured_against_eager"] = _against_eager(alg, rows, old_steps)
    if setup.on_gpu:
        found["peak_gib"] = torch.cuda.max_memory_allocated() / GIB
        found["reserved_gib"] = torch.cuda.memory_reserved() / GIB
        found["syncs"] = {"act": _syncs(act), "minibatch": _syncs(update)}
        found["kernels"] = {"act": _kernels(act), "minibatch": _kernels(update)}
    return found


@torch.no_grad()
def _move(alg: TruDi) -> None:
    """Change the actor's weights, so that part of the states exceeds the trust region."""
    for parameter in alg.actor_critic.actor.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))


def _replay_kl(alg: TruDi, precision: Precision) -> float:
    obs = alg.storage.actor_obs[0].clone()
    with torch.inference_mode():
        return replay_error(alg.actor_critic.actor, obs, alg._sample, precision).item()


def _acting(alg: TruDi, env: Any) -> Callable[[], None]:
    """Return a function that acts once and stores the outcome, without the simulator."""
    obs, rewards, dones, extras = env.step(torch.zeros(env.num_envs, env.num_actions, device=env.device))

    @torch.inference_mode()
    def act() -> None:
        alg.storage.step = 0
        alg.act(obs)
        alg.process_env_step(obs, rewards, dones, extras)

    return act


def _against_eager(alg: TruDi, rows: BatchRows, old_steps: torch.Tensor | None) -> dict[str, list[float]]:
    """Return metrics of one minibatch, captured and eager, by the same random numbers."""
    eager = Learner(alg.actor_critic, alg.cfg, 1, Accelerator("off", alg.device))
    results = []
    for update in (alg._update, lambda rows, steps: eager.update(alg.storage.minibatch(rows), steps)):
        torch.manual_seed(0)
        results.append(update(rows, old_steps))
    captured, expected = results
    return {name: [float(captured[name]), float(expected[name])] for name in expected}


def _syncs(call: Callable[[], object]) -> dict[str, int]:
    """Return the lines that made the host wait for the GPU, and how often."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    lines = [
        f"{w.filename.rpartition('/site-packages/')[2]}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)
    ]
    return dict(collections.Counter(lines))


def _kernels(call: Callable[[], object]) -> Record:
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as recorded:
        call()
        synchronize()
    events = [e for e in recorded.key_averages() if e.device_type == DeviceType.CUDA]
    longest = sorted(events, key=lambda e: -e.self_device_time_total)[:12]
    return {
        "number": sum(e.count for e in events),
        "ms": 1e-3 * sum(e.self_device_time_total for e in events),
        "longest": {e.key[:70]: [e.count, 1e-3 * e.self_device_time_total] for e in longest},
    }


def cuda_tests(seconds: float) -> Record:
    """Run the tests that need a GPU, in a process of their own."""
    options = ("-m", "cuda", "-q", "--no-header", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", "tests/acceleration", *options]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        return {"timeout_s": seconds, "output": (error.stdout or b"")[-1500:].decode()}
    return {"exit_code": done.returncode, "output": done.stdout[-3000:]}


def summary(result: Record) -> Record:
    """Return seconds of a training's iteration, and each algorithm's relative to its Gaussian sibling's."""
    seconds = {}
    for name, found in result.items():
        if "ms" in found:
            spent = ITERATION["steps"] * found["ms"]["act"] + ITERATION["minibatches"] * found["ms"]["minibatch"]
            seconds[name] = ITERATION["simulator_s"] + 1e-3 * spent
    ratios = {p: seconds[f"trudi {p}"] / seconds[f"reppo {p}"] for p in ("tf32", "fp32") if f"reppo {p}" in seconds}
    return {"iteration": ITERATION, "iteration_s": seconds, "trudi_over_gaussian": ratios}


def main() -> None:
    """Parse the arguments, measure section by section, and store each."""
    parser = argument_parser(__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--budget", type=float, default=540.0, help="seconds in all (default: 540)")
    args = parser.parse_args()
    results, start = chosen_results(args), time.monotonic()
    setup = Setup(args.device, SMALL if args.quick else HUMANOID)
    sections: dict[str, Callable[[], Record]] = {"versions": lambda: versions(setup)}
    for algo, precision in CASES:
        if setup.on_gpu or precision != "tf32":
            sections[f"{algo} {precision}"] = lambda a=algo, p=precision: training(setup, a, p)
    result: Record = {}
    for name, section in sections.items():
        left = args.budget - (time.monotonic() - start) - TESTS_SECONDS
        result[name] = _stored(section) if left > 0 else {"left_out": "no time"}
        print(f"{name}: {json.dumps(result[name], indent=1)}", flush=True)
        results.write("gpu_check", result)
    if setup.on_gpu:
        result["tests"] = cuda_tests(args.budget - (time.monotonic() - start))
        print(result["tests"])
    result["summary"] = summary(result)
    print(json.dumps(result["summary"], indent=1))
    results.write("gpu_check", result)


def _stored(section: Callable[[], Record]) -> Record:
    start = time.monotonic()
    try:
        found = section()
    except Exception as error:  # what fails is a result, and the next section may work
        found = {"failed": f"{type(error).__name__}: {str(error)[:500]}", "at": traceback.format_exc(limit=-4)}
    return found | {"seconds": round(time.monotonic() - start, 1)}


if __name__ == "__main__":
    main()
