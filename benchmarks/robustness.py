# SPDX-License-Identifier: BSD-3-Clause
"""Train while processes are killed, simulators return NaN and disks are full; resume exactly; train for very long.

    python benchmarks/robustness.py

``soak`` trains HalfCheetah-v5 in processes that are killed or terminated at random times and resumed with ``--resume``,
with the faults of ``soak_worker.py``. ``resume`` compares the parameters of trainings that were killed once and resumed
with those of uninterrupted ones. ``long_run`` trains thirty times as long as the preset: flow policies are known to
collapse long after they have learned, and on PlanarObstacle-v0 a collapse would show as one behaviour instead of two.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import random
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from results import ALGORITHMS, ROOT, Record, versions
from rich.progress import track
from runs import LOGGED, Job, learning_curve, main, one_thread, run_folder

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.config.event_file import read_run
from trudi_rsl.config.run_folder import find_checkpoint, newest_checkpoint
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.behaviour import measure_behaviour
from trudi_rsl.evaluation.identify import read_subject
from trudi_rsl.hosts.registry import SIMULATION
from trudi_rsl.tasks import find_modes

TASK, EXPERIMENT = "HalfCheetah-v5", "halfcheetah-v5"
SAVE_INTERVAL, STEPS_PER_ITERATION = 5, 2048
FAULTS = {"SIGKILL": "process killed", "SIGTERM": "process terminated"}
FAULTS |= {"nan observation": "NaN from the simulator, in one environment", "nan minibatch": "NaN in a minibatch"}
FAULTS |= {"full disk": "no file can be written"}
"""How a process ends and what is injected, and their names in the table."""
END_EVERY, KILLED = 50.0, 0.7
"""Mean seconds until a process is ended, and the share of kills among these ends."""
WARM_UP = 30
"""Iterations of a process before its memory counts."""
RESUME_ITERATIONS, KILLED_AFTER = 6, 3
SAMPLE_SECONDS, SETTLED = 10.0, 0.2
"""Seconds between two samples of memory, and the share of a training after which it should stay constant."""
WINDOW = 100  # iterations over which the returns of a long training are averaged


def progress_of(experiment: Path) -> tuple[int, float]:
    """Return the iterations and the mean training return of the newest intact checkpoint."""
    try:
        infos = read_checkpoint(find_checkpoint(experiment))["infos"]["logger"]
    except CheckpointError:
        return 0, float("nan")
    returns = infos["rewbuffer"]
    return infos["tot_timesteps"] // STEPS_PER_ITERATION, sum(returns) / max(len(returns), 1)


def soak_segment(command: Sequence[str], folder: Path, chance: random.Random, seed: int) -> str:
    """Run one training process until it ends or is ended, and return how; an error raises RuntimeError."""
    environment = one_thread() | {"SOAK_LOG": str(folder / "faults.jsonl"), "SOAK_SEED": str(seed)}
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            process.wait(chance.expovariate(1.0 / END_EVERY))
        except subprocess.TimeoutExpired:
            number = signal.SIGKILL if chance.random() < KILLED else signal.SIGTERM
            process.send_signal(number)
            process.wait()
            return number.name
    if process.returncode:
        raise RuntimeError((folder / "output.txt").read_text()[-3000:])
    return "by itself"


def soak(job: Job) -> Record:
    """Train one seed to its end through all faults, and return the record; a training's error raises RuntimeError."""
    assert job.iterations is not None
    folder, chance = Path(tempfile.mkdtemp(dir=Path.cwd())), random.Random(job.seed)
    log, experiment = folder / "faults.jsonl", folder / "logs" / "rsl_rl" / EXPERIMENT
    log.touch()
    segments, events = [], []
    start = time.time()
    while (done := progress_of(experiment)[0]) < job.iterations:
        command = dataclasses.replace(job, iterations=job.iterations - done).command(
            f"agent.save_interval={SAVE_INTERVAL}", "agent.keep_checkpoints=3", "agent.evaluation_episodes=null"
        )
        command[1] = str(ROOT / "benchmarks" / "soak_worker.py")
        end = soak_segment([*command, *["--resume"] * bool(done)], folder, chance, 1000 * job.seed + len(segments))
        known, events = len(events), [json.loads(line) for line in log.read_text().splitlines()]
        counts = collections.Counter(event["event"] for event in events[known:])
        made, lost = counts["iteration"], done + counts["iteration"] - progress_of(experiment)[0]
        segments.append({"end": end, "from": done, "made": made, "lost": lost, "full disks": counts["full disk"]})
        if end == "by itself" and not made:
            raise RuntimeError((folder / "output.txt").read_text()[-3000:])
    return {
        **job.record(),
        "save_interval": SAVE_INTERVAL,
        "segments": segments,
        "faults": collections.Counter(e["event"] for e in events if e["event"] != "iteration"),
        "memory_in_use_mb": [e["memory_in_use_mb"] for e in events if e["event"] == "iteration"],
        "return": round(progress_of(experiment)[1], 3),
        "wall_clock_s": round(time.time() - start, 1),
        "versions": versions(),
    }


def memory_growth(record: Record) -> Iterator[float]:
    """Yield each process's growth in MB per 1000 iterations after its first ones; short processes are skipped."""
    memory = record.get("memory_in_use_mb", [])
    for segment in record["segments"]:
        own, memory = memory[: segment["made"]], memory[segment["made"] :]
        if len(own) >= 2 * WARM_UP:
            yield 1000.0 * (own[-1] - own[WARM_UP]) / (len(own) - 1 - WARM_UP)


def train_killed(algo: str, folder: Path, kill: bool) -> Path:
    """Train in ``folder``, killed once and resumed if ``kill``, and return the newest checkpoint."""
    experiment = folder / "logs" / "rsl_rl" / (EXPERIMENT if algo == "trudi" else f"{EXPERIMENT}_{algo}")
    while (done := progress_of(experiment)[0]) < RESUME_ITERATIONS:
        command = Job(TASK, algo, "preset", 1, iterations=RESUME_ITERATIONS - done).command(
            "agent.save_interval=1", "agent.evaluation_episodes=1", *["--resume"] * bool(done)
        )
        process = subprocess.Popen(command, cwd=folder, env=one_thread(), stdout=subprocess.DEVNULL)
        while kill and not done and process.poll() is None:
            if progress_of(experiment)[0] >= KILLED_AFTER:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.1)
        process.wait()
    return find_checkpoint(experiment)


def resume_difference(algo: str) -> float:
    """Return the largest absolute difference of parameters and statistics between a killed and a straight training."""
    states = []
    for kill in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            states.append(read_checkpoint(train_killed(algo, Path(folder), kill)))
    return max(
        (value.double() - states[1][part][name].double()).abs().max().item()
        for part in ("actor_state_dict", "critic_state_dict")
        for name, value in states[0][part].items()
    )


def resume(quick: bool) -> Record:
    """Compare killed and straight trainings of each algorithm."""
    algos = list(ALGORITHMS)[: 1 if quick else None]
    differences = {algo: resume_difference(algo) for algo in track(algos, "resume")}
    about = {"task": TASK, "iterations": RESUME_ITERATIONS, "killed_after": KILLED_AFTER}
    return about | {"differences": differences, "versions": versions()}


def long_run(job: Job) -> Record:
    """Train, and return the returns, the memory over time and the behaviours at the end."""
    assert job.iterations is not None
    command = job.command("agent.keep_checkpoints=3", "agent.evaluation_episodes=null")
    memory: list[tuple[float, float]] = []
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        output = Path(name, "output.txt")
        with output.open("w") as file:
            process = subprocess.Popen(command, cwd=name, env=one_thread(), stdout=file, stderr=subprocess.STDOUT)
            while process.poll() is None:
                memory.append((time.monotonic() - start, resident_megabytes(process.pid)))
                time.sleep(min(SAMPLE_SECONDS, job.iterations))
        if process.returncode:
            raise RuntimeError(output.read_text()[-3000:])
        run = run_folder(Path(name))
        curve = learning_curve(read_run(run, LOGGED))
        subject = read_subject(newest_checkpoint(run))
        behaviour = measure_behaviour(subject, find_modes(job.task), SIMULATION, progress=False).behaviour
    del curve["seconds"]
    returns = curve["returns"]
    means = [statistics.mean(returns[i : i + WINDOW]) for i in range(0, len(returns), WINDOW)]
    return {
        **job.record(),
        **curve,
        "memory_s_mb": [(round(s), round(mb, 1)) for s, mb in memory],
        "growth_mb_per_1000_iterations": round(growth_per_1000_iterations(memory, job.iterations), 2),
        "best_100": round(max(means), 4),
        "last_100": round(statistics.mean(returns[-WINDOW:]), 4),
        "behaviour": {k: v for k, v in behaviour.to_dict().items() if k != "runs"},
        "versions": versions("torch", "rsl-rl-lib", "gymnasium"),
    }


def resident_megabytes(pid: int) -> float:
    """Return the memory of a process (Linux); 0 after its end."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def growth_per_1000_iterations(memory: Sequence[tuple[float, float]], iterations: int) -> float:
    """Return the slope of a line through the memory of the settled part of a training, in megabytes."""
    seconds, megabytes = np.array([sample for sample in memory if sample[1] > 0.0]).T
    settled = seconds > SETTLED * seconds[-1]
    return float(np.polyfit(seconds[settled], megabytes[settled], 1)[0] * seconds[-1] / iterations * 1000.0)


if __name__ == "__main__":
    main(__doc__, {"soak": soak, "long_run": long_run}, {"resume": resume})
