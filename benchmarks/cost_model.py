# SPDX-License-Identifier: BSD-3-Clause
"""Estimates what training costs on an H200, on a machine without a GPU: kernels, bytes, FLOPs, time and memory.

    python benchmarks/cost_model.py            # 10 minutes; benchmarks/results/cost_model.json

Kernels are those that inductor plans for compiled functions and PyTorch launches for everything else, see
``kernel_costs.py``. A kernel takes as long as its bytes, its floating-point operations or its launch, whichever is
longest: times of kernels that reach the GPU's rates, and no measurements. Sizes are those of a humanoid in Isaac Lab or
mjlab, and simulators are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.acceleration import fake_cuda  # noqa: F401, I001  before torch

import dataclasses
import functools
import itertools
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

from kernel_costs import Counter, Kernel, counting
from results import Record, argument_parser, chosen_results, versions
from speed_plan import Shape, Variant
from speed_subjects import RandomEnv, collect, make_ppo, make_trudi
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.trust_region import step_sizes_of

HUMANOID = Shape(
    4096, 64, num_obs=310, num_actions=37, width=512, num_denoise_steps=8, num_mini_batches=16, num_epochs=1
)
SMALL = Shape(64, 4, num_obs=5, num_actions=3, width=8, num_denoise_steps=2, num_mini_batches=2, num_epochs=1)
EPOCHS = 4
"""Epochs of an iteration; one is counted."""
SUBJECTS = {
    "TruDi": Variant(mode="compiled"),
    "TruDi, adjoint on half the steps": Variant(mode="compiled", option="adjoint, half the steps"),
    "TruDi, bf16": Variant(mode="compiled", precision="bf16"),
    "REPPO": Variant("gaussian", mode="compiled"),
    "PPO": Variant("ppo"),
}
MEMORY = "memory"
MEMORY_SHAPES = tuple(
    dataclasses.replace(HUMANOID, num_envs=envs, num_steps=steps, num_actions=actions, num_mini_batches=minibatches)
    for envs, steps, actions, minibatches in (
        *((1024, 24, 12, 4), (4096, 24, 12, 4), (4096, 24, 37, 4), (8192, 24, 37, 8)),
        *((4096, 64, 37, 16), (4096, 64, 37, 32)),
    )
)
"""Sizes at which the memory of TruDi is counted."""
BANDWIDTH = 4.3e12
"""Bytes per second."""
PRODUCTS = {"fp32": 50e12, "tf32": 400e12}
"""Floating-point operations per second of matrix products."""
HALF_PRODUCTS = 700e12
LAUNCH = {True: 2e-6, False: 4e-6}
"""Seconds of the shortest kernel, in CUDA graphs and outside of them."""
CAPTURED = ("_update_statistics", "_decisions", "_update")
"""Parts of an iteration that are CUDA graphs."""
PARTS = ("act", "process_env_step", "compute_returns", "update", *CAPTURED)


def cost(kernels: Iterable[Kernel], in_graph: bool) -> dict[str, float]:
    """Return what kernels cost together."""
    kernels, launch = list(kernels), LAUNCH[in_graph]
    total: dict[str, float] = {
        "kernels": len(kernels),
        "gb": sum(k.moved for k in kernels) / 1e9,
        "gflop": sum(k.flops for k in kernels) / 1e9,
    }
    for name, rate in PRODUCTS.items():
        seconds = (max(k.moved / BANDWIDTH, k.flops / (HALF_PRODUCTS if k.is_half else rate), launch) for k in kernels)
        total[f"ms_{name}"] = 1e3 * sum(seconds)
    return total


def _sum(*scaled: tuple[float, dict[str, float]]) -> dict[str, float]:
    return {name: sum(factor * part[name] for factor, part in scaled) for name in scaled[0][1]}


def estimate(shape: Shape, variant: Variant) -> Record:
    """Return the cost of sampling, a minibatch, the update and an iteration."""
    with counting() as counter:
        env: Any
        if variant.actor == "ppo":
            # which collects a rollout itself
            alg, env = make_ppo(shape, False, "cuda"), RandomEnv(shape, "cuda")
            alg.storage.clear()
        else:
            alg, env = make_trudi(shape, variant, "cuda")
        for name in PARTS:
            if hasattr(alg, name):
                setattr(alg, name, _in_phase(counter, name, getattr(alg, name)))
        collect(alg, env, shape.num_steps)
        alg.update()
    if isinstance(alg, TruDi) and (slow := [f.name for f in alg.learner.accelerator.functions if not f.is_fast]):
        raise RuntimeError(f"Not compiled, so that the costs are not those of training: {', '.join(slow)}.")
    in_graphs = isinstance(alg, TruDi) and variant.mode != "eager"
    parts = {name: cost(counter.done[name], in_graphs and name in CAPTURED) for name in PARTS}
    minibatches = shape.num_mini_batches * shape.num_epochs
    # RSL-RL's update is in one piece
    per_minibatch = parts["_update"] if isinstance(alg, TruDi) else parts["update"]
    once = (1.0, parts["update"]) if isinstance(alg, TruDi) else (0.0, parts["update"])
    update = _sum((EPOCHS, per_minibatch), once, (1.0, parts["compute_returns"]))
    steps = _sum(*((1.0, parts[name]) for name in ("act", "process_env_step", "_update_statistics", "_decisions")))
    sampling = parts["_decisions"] if isinstance(alg, TruDi) else parts["act"]
    return {
        "sampling": _sum((1 / (shape.num_steps + isinstance(alg, TruDi)), sampling)),
        "environment step": _sum((1 / shape.num_steps, steps)),
        "minibatch": _sum((1 / minibatches, per_minibatch)),
        "update": update,
        "iteration": _sum((1.0, steps), (1.0, update)),
    }


def memory(shape: Shape) -> Record:
    """Return the GiB of a rollout's parts, of all that is held between iterations, and at most."""
    with counting() as counter:
        alg, env = make_trudi(shape, Variant(), "cuda")
        held, counter.peak = counter.held, 0
        collect(alg, env, shape.num_steps)
        # from the second minibatch on, Adam's state is there
        for rows in itertools.islice(alg.storage.index_batches(1, shape.num_mini_batches), 2):
            alg._update(rows, step_sizes_of(alg.actor_critic.old_actor))
    storage = alg.storage
    stored = {"observations": storage.actor_obs, "next features": storage.next_features, "chains": storage.trace}
    gib = {name: x.numel() * x.element_size() / 2**30 for name, x in stored.items() if x is not None}
    return dataclasses.asdict(shape) | {"gib": gib | {"held": held / 2**30, "peak": counter.peak / 2**30}}


def _in_phase(counter: Counter, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with counter.phase(name):
            return function(*args, **kwargs)

    return call


def main() -> None:
    """Estimate every subject in a process of its own and store what was found."""
    parser = argument_parser(__doc__)
    parser.add_argument("--subjects", nargs="+", choices=[*SUBJECTS, MEMORY], default=[*SUBJECTS, MEMORY])
    args = parser.parse_args()
    results = chosen_results(args)
    if len(args.subjects) > 1:
        # inductor keeps fake tensors of the first
        for name in args.subjects:
            own = ["--subjects", name, "--output", str(results.folder), *(["--quick"] if args.quick else [])]
            subprocess.run([sys.executable, __file__, *own], check=True)
        return
    (name,) = args.subjects
    if name == MEMORY:
        sizes = [memory(shape) for shape in ((SMALL,) if args.quick else MEMORY_SHAPES)]
        results.write("cost_model", results.read("cost_model") | {MEMORY: sizes})
        return
    shape = SMALL if args.quick else HUMANOID
    found = estimate(shape, SUBJECTS[name])
    subjects = results.read("cost_model").get("subjects", {}) | {name: found}
    stored = results.read("cost_model") | {
        "shape": dataclasses.asdict(shape) | {"num_epochs": EPOCHS},
        "versions": versions("torch", "rsl-rl-lib"),
        "subjects": {known: subjects[known] for known in SUBJECTS if known in subjects},
    }
    results.write("cost_model", stored)
    print(f"{name}: {found['iteration']['ms_tf32']:.0f} ms per iteration in TF32, without the simulator", flush=True)


if __name__ == "__main__":
    main()
