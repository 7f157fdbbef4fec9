# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""What the host of MuJoCo Playground costs: steps per second beside Playground's own step, and the start of a training.

    python benchmarks/playground.py
    python benchmarks/playground.py --tables start --output /tmp/start

Needs the packages of ``tests/hosts/requirements/playground.txt``. ``overhead`` steps both loops in turn, so that both
meet the same load of the machine, which is stored, and also measures the time of the process's own threads.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from results import ROOT, Record, argument_parser, chosen_results, versions

from trudi_rsl.deploy.provenance import machine

PACKAGES = ("jax", "mujoco", "mujoco-mjx", "playground", "rsl-rl-lib", "torch")
TASKS = {"CartpoleBalance": 100, "CheetahRun": 8}
"""Tasks and the steps of a round."""
ENVS, ROUNDS = 1024, 15
BARE, READ = "bare", "bare, read after each step"
"""Playground's step. JAX dispatches a step while it computes the one before, unless a policy reads the results."""
OURS, ENDING = "ours", "ours, one episode ends per step"
FIRST_ITERATION = "Iteration 0/"
"""Begins what is printed after the first iteration, with --verbose."""


class Clock(NamedTuple):
    """Seconds of a call."""

    wall: float
    cpu: float
    """Of all threads of this process, which other processes hardly change."""


def timed(call: Callable[[], object], wait: Callable[[], object], times: int = 1) -> Clock:
    """Return the mean of ``times`` calls; ``wait`` returns when their work is done."""
    wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        call()
    wait()
    return Clock((time.perf_counter() - wall) / times, (time.process_time() - cpu) / times)


def measure_task(task: str, num_envs: int, steps: int, rounds: int) -> Record:
    """Return what a step costs in both loops, and the first states of all environments."""
    import jax

    from trudi_rsl.hosts.playground import PlaygroundVecEnv

    env = PlaygroundVecEnv(task, num_envs)
    env.restarts_faulty = True
    actions = 2.0 * torch.rand(num_envs, env.num_actions, generator=torch.Generator().manual_seed(0)) - 1.0
    bare_actions = jax.numpy.asarray(actions.numpy())
    playground = env.loaded.env
    bare_step = jax.jit(jax.vmap(playground.step), donate_argnums=0)

    def own_states() -> Any:
        # the solver's iterations depend on the states, so all loops step the same ones
        state = env.loaded.simulation.unpack([jax.numpy.array(leaf, copy=True) for leaf in env._carry.state])
        return jax.device_put(state, env.loaded.device)

    state = bare_step(own_states(), bare_actions)

    def bare() -> None:
        nonlocal state
        state = bare_step(state, bare_actions)

    def bare_and_read() -> None:
        bare()
        jax.block_until_ready(state)

    def wait() -> None:
        jax.block_until_ready((state, env._carry))

    def ours() -> None:
        env.step(actions)

    limit, lengths = env.max_episode_length, torch.zeros(num_envs, dtype=torch.long)
    seconds: dict[str, list[Clock]] = {BARE: [], READ: [], OURS: [], ENDING: []}
    for _ in range(rounds + 1):
        state = own_states()
        seconds[BARE].append(timed(bare, wait, steps))
        state = own_states()
        seconds[READ].append(timed(bare_and_read, wait, steps))
        env.episode_length_buf = torch.zeros_like(lengths)
        seconds[OURS].append(timed(ours, wait, steps))
        lengths[:] = 0
        lengths[0] = limit - 1
        env.episode_length_buf = lengths
        ours()  # prepares the next first states of all environments
        lengths[:] = 0
        lengths[1 : steps + 1] = limit - 1 - torch.arange(steps)
        env.episode_length_buf = lengths
        seconds[ENDING].append(timed(ours, wait, steps))
    first = [timed(lambda: env.seed(0), wait) for _ in range(3)]
    kept = {name: clocks[1:] for name, clocks in seconds.items()}
    cpu = {name: statistics.median(clock.cpu for clock in clocks) for name, clocks in kept.items()}
    first_states = statistics.median(clock.cpu for clock in first)
    return {
        "env_steps_per_second": {
            name: num_envs / statistics.median(clock.wall for clock in clocks) for name, clocks in kept.items()
        },
        "env_steps_per_cpu_second": {name: num_envs / value for name, value in cpu.items()},
        "ratio": {
            name: statistics.median(theirs.wall / own.wall for theirs, own in zip(kept[name], kept[OURS], strict=True))
            for name in (BARE, READ)
        },
        "first_states_cpu_s": first_states,
        "first_states_share": first_states / (limit * cpu[OURS]),
        "rounds": kept,
    }


def overhead(quick: bool) -> Record:
    """Measure both tasks."""
    torch.set_num_threads(1)
    load = os.getloadavg()
    envs, rounds = (16, 2) if quick else (ENVS, ROUNDS)
    runs = {task: measure_task(task, envs, 2 if quick else steps, rounds) for task, steps in TASKS.items()}
    about = {"num_envs": envs, "processor": machine(), "load_before_and_after": [load[0], os.getloadavg()[0]]}
    return about | {"versions": versions(*PACKAGES), "runs": runs}


def first_iteration(task: str, cache: Path, num_envs: int) -> Record:
    """Return the seconds from the start of the process to the end of the first iteration, as users see it."""
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "--task", task, "--device", "cpu"]
    command += ["--num_envs", str(num_envs), "--max_iterations", "1", "--verbose", "agent.num_steps_per_env=8"]
    command += ["agent.algorithm.num_learning_epochs=1", "agent.algorithm.num_mini_batches=4"]
    before, start, first = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), None
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        for line in process.stdout:
            if FIRST_ITERATION in line and first is None:
                first = time.perf_counter() - start
                process.kill()
        process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if first is None:
        raise RuntimeError(f"{' '.join(command)} ended before its first iteration")
    return {"wall_clock_s": first, "cpu_s": cpu}


def start(quick: bool) -> Record:
    """Measure the start of trainings without and with the results of earlier compilations."""
    load, runs = os.getloadavg(), {}
    for task in TASKS:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("cold", "warm"):
                runs[f"{task}, {name}"] = first_iteration(task, Path(folder), 16 if quick else ENVS)
    about = {"num_envs": 16 if quick else ENVS, "processor": machine(), "load_before_and_after": [load[0]]}
    about["load_before_and_after"].append(os.getloadavg()[0])
    return about | {"versions": versions(*PACKAGES), "runs": runs}


if __name__ == "__main__":
    tables: dict[str, Callable[[bool], Record]] = {"overhead": overhead, "start": start}
    parser = argument_parser(__doc__)
    parser.add_argument("--tables", nargs="+", choices=list(tables), default=list(tables))
    args = parser.parse_args()
    results = chosen_results(args)
    for table in args.tables:
        results.write(f"playground_{table}", tables[table](args.quick))
