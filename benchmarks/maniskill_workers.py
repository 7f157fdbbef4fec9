# SPDX-License-Identifier: BSD-3-Clause
"""Environment steps per second of a ManiSkill task in one process and in one process for each core.

    python benchmarks/maniskill_workers.py

Runs in an environment with ManiSkill, for example that of its tests. Both step the same environments with the same
random actions, in turn, episode ends included. Run it on an otherwise idle machine; the record has its load before each
pass.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from results import Record, argument_parser, chosen_results, versions

from trudi_rsl.deploy.provenance import machine

if TYPE_CHECKING:
    from trudi_rsl.hosts.maniskill import ManiSkillVecEnv

ONE, WORKERS = "one process", "a process for each core"
PACKAGES = ("torch", "rsl-rl-lib", "gymnasium", "mani-skill", "sapien")


def measure(env: ManiSkillVecEnv, steps: int) -> Record:
    """Return the rate of a number of steps with random actions in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    actions = 2.0 * torch.rand(steps, env.num_envs, env.num_actions, generator=generator) - 1.0
    load, start = os.getloadavg()[0], time.perf_counter()
    for action in actions:
        env.step(action)
    seconds = time.perf_counter() - start
    return {"env_steps_per_second": env.num_envs * steps / seconds, "load_average_before": load}


def speedup(passes: Mapping[str, Sequence[Record]]) -> float:
    """Return the median rate with workers relative to that of one process, of interleaved passes."""
    rates = {name: [found["env_steps_per_second"] for found in passes[name]] for name in (ONE, WORKERS)}
    return statistics.median(rates[WORKERS]) / statistics.median(rates[ONE])


def main() -> None:
    """Measure both in turn, several times, and store the record."""
    parser = argument_parser(__doc__)
    parser.add_argument("--task", default="PushCube-v1")
    parser.add_argument("--num_envs", type=int, default=16)
    args = parser.parse_args()
    from trudi_rsl.hosts.maniskill import ManiSkillVecEnv

    repeats, steps = (1, 10) if args.quick else (7, 200)
    torch.set_num_threads(1)
    cores = len(os.sched_getaffinity(0))
    envs = {ONE: ManiSkillVecEnv(args.task, args.num_envs, workers=1)}
    envs[WORKERS] = ManiSkillVecEnv(args.task, args.num_envs, workers=min(cores, args.num_envs))
    for env in envs.values():
        measure(env, 5)
    passes: dict[str, list[Record]] = {name: [] for name in envs}
    for _ in range(repeats):
        for name, env in envs.items():
            passes[name].append(measure(env, steps))
            print(f"{name}: {passes[name][-1]['env_steps_per_second']:.0f} env-steps/s", flush=True)
    median = {name: statistics.median(p["env_steps_per_second"] for p in found) for name, found in passes.items()}
    result = {"task": args.task, "num_envs": args.num_envs, "num_workers": envs[WORKERS].num_workers, "steps": steps}
    result |= {"processor": machine(), "versions": versions(*PACKAGES), "speedup": speedup(passes)}
    rows = {name: {"env_steps_per_second": rate} for name, rate in median.items()}
    rows[WORKERS]["speedup"], rows[ONE]["speedup"] = result["speedup"], 1.0
    chosen_results(args).write("maniskill_workers", result | {"medians": rows, "runs": passes})
    print(f"Speedup by workers: {result['speedup']:.2f}")
    for env in envs.values():
        env.close()


if __name__ == "__main__":
    main()
