# SPDX-License-Identifier: BSD-3-Clause
"""Train while processes are killed, simulators return NaN and disks are full; resume exactly; train for very long.

    python benchmarks/robustness.py --tables soak --minutes 60
    python benchmarks/robustness.py --tables resume long_run

``soak`` trains HalfCheetah-v5, one seed after the other, in processes that are killed or terminated at random times and
resumed with ``--resume``, with the faults of ``soak_worker.py``, and checks what is lost. ``resume`` compares the
parameters of trainings that were killed once and resumed with those of uninterrupted ones. ``long_run`` trains thirty
times as long as the preset: flow policies are known to collapse long after they have learned, and on PlanarObstacle-v0
a collapse would show as one behaviour instead of two.
"""

from __future__ import annotations

import collections
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from results import ALGORITHMS, ROOT, Record, Results, argument_parser, chosen_results, versions
from rich.progress import Progress, track
from runs import LOGGED, Job, learning_curve, one_thread, run_folder
from scipy.stats import mannwhitneyu

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.config.event_file import read_run
from trudi_rsl.config.run_folder import find_checkpoint
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.behaviour import measure_behaviour
from trudi_rsl.evaluation.identify import newest_checkpoint, read_subject
from trudi_rsl.hosts.registry import GYMNASIUM
from trudi_rsl.tasks import find_modes

TASK, EXPERIMENT = "HalfCheetah-v5", "halfcheetah-v5"
ITERATIONS, SAVE_INTERVAL, STEPS_PER_ITERATION = 150, 5, 2048
END_EVERY, KILLED = 50.0, 0.7
"""Mean seconds until a process is ended, and the share of kills among these ends."""
WARM_UP, MOST_GROWTH = 30, 50.0
"""Iterations of a process before its memory counts, and the allowed growth, MB per 1000 iterations."""
SIGNIFICANCE = 0.05
RESUME_ITERATIONS, KILLED_AFTER = 6, 3
LONG_TASK, LONG_ITERATIONS, SAMPLE_SECONDS = "PlanarObstacle-v0", 3000, 10.0
SETTLED = 0.2
"""Share of a training after which everything is compiled and buffered, so that memory should stay constant."""


def progress_of(experiment: Path) -> tuple[int, float]:
    """Return the iterations and the mean training return of the newest intact checkpoint."""
    try:
        infos = read_checkpoint(find_checkpoint(experiment))["infos"]["logger"]
    except CheckpointError:
        return 0, float("nan")
    returns = infos["rewbuffer"]
    return infos["tot_timesteps"] // STEPS_PER_ITERATION, sum(returns) / max(len(returns), 1)


def soak_segment(command: Sequence[str], folder: Path, chance: random.Random, seed: int) -> str:
    """Run one training process until it ends or is ended, and return how it ended.

    Raises:
        RuntimeError: If it ends by itself with an error.
    """
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


def soak(seed: int, folder: Path, iterations: int = ITERATIONS) -> Record:
    """Train one seed to its end through all faults, and return the record.

    Raises:
        RuntimeError: If training ends by itself with an error, or without an iteration.
    """
    chance, log, experiment = random.Random(seed), folder / "faults.jsonl", folder / "logs" / "rsl_rl" / EXPERIMENT
    log.touch()
    job = Job(TASK, "trudi", "preset", seed)
    train, *arguments = job.command(f"agent.save_interval={SAVE_INTERVAL}", "agent.keep_checkpoints=3")[1:]
    assert train.endswith("train.py")
    worker = [sys.executable, str(ROOT / "benchmarks" / "soak_worker.py"), *arguments, "agent.evaluation_episodes=null"]
    segments, events = [], []
    start = time.time()
    with Progress() as progress:
        bar = progress.add_task(f"seed {seed}", total=iterations)
        while (done := progress_of(experiment)[0]) < iterations:
            progress.update(bar, completed=done)
            command = [*worker, "--max_iterations", str(iterations - done), *["--resume"] * bool(done)]
            end = soak_segment(command, folder, chance, 1000 * seed + len(segments))
            known, events = len(events), [json.loads(line) for line in log.read_text().splitlines()]
            counts = collections.Counter(event["event"] for event in events[known:])
            made, lost = counts["iteration"], done + counts["iteration"] - progress_of(experiment)[0]
            segments.append({"end": end, "from": done, "made": made, "lost": lost, "full disks": counts["full disk"]})
            if end == "by itself" and not made:
                raise RuntimeError((folder / "output.txt").read_text()[-3000:])
    return {
        **job.record(),
        "iterations": iterations,
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


def check_soak(records: Sequence[Record], undisturbed: Sequence[float]) -> None:
    """Check that no more is lost than promised, that memory is constant, and that faults do not show in the returns.

    Args:
        records: From :func:`soak`.
        undisturbed: Returns of the same training without faults.

    Raises:
        AssertionError: Naming the claim that does not hold.
    """
    for segment in (segment for record in records for segment in record["segments"]):
        # a kill loses at most what lies between two checkpoints that could be written
        assert segment["lost"] <= SAVE_INTERVAL * (1 + segment["full disks"]), f"Lost iterations: {segment}"
    growth = [value for record in records for value in memory_growth(record)]
    assert not growth or statistics.median(growth) < MOST_GROWTH, f"Memory grows, MB per 1000 iterations: {growth}"
    returns = [record["return"] for record in records]
    p_value = mannwhitneyu(returns, undisturbed).pvalue
    assert p_value > SIGNIFICANCE, f"Returns differ from undisturbed training, p = {p_value:.3g}: {returns}"
    print(f"{len(records)} seeds pass: iterations lost, memory, returns (Mann-Whitney p = {p_value:.2g}).")


def soak_all(results: Results, minutes: float, quick: bool) -> None:
    """Train seed after seed until the time is over, skipping stored ones, and check the records."""
    end, seed = time.monotonic() + 60.0 * minutes, 0
    while time.monotonic() < end and not (quick and seed):
        seed += 1
        if all(run["seed"] != seed for run in results.runs("soak")):
            with tempfile.TemporaryDirectory() as folder:
                results.add("soak", soak(seed, Path(folder), 10 if quick else ITERATIONS))
    if not quick:
        undisturbed = [run for run in results.runs("learning/halfcheetah") if run["algo"] == "trudi"]
        check_soak(results.runs("soak"), [run["returns"][-1] for run in undisturbed])


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


def long_run(seed: int, iterations: int) -> Record:
    """Train, and return the returns, the memory over time and the behaviours at the end.

    Raises:
        RuntimeError: If training fails.
    """
    job = Job(LONG_TASK, "trudi", "preset", seed, iterations=iterations)
    command = job.command("agent.keep_checkpoints=3", "agent.evaluation_episodes=null")
    memory: list[tuple[float, float]] = []
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name, Progress() as progress:
        output, bar = Path(name, "output.txt"), progress.add_task("long run", total=iterations)
        with output.open("w") as file:
            process = subprocess.Popen(command, cwd=name, env=one_thread(), stdout=file, stderr=subprocess.STDOUT)
            while process.poll() is None:
                memory.append((time.monotonic() - start, resident_megabytes(process.pid)))
                progress.update(bar, completed=output.read_text().count("Learning iteration"))
                time.sleep(min(SAMPLE_SECONDS, iterations))
        if process.returncode:
            raise RuntimeError(output.read_text()[-3000:])
        run = run_folder(Path(name))
        curve = learning_curve(read_run(run, LOGGED))
        subject = read_subject(newest_checkpoint(run))
        behaviour = measure_behaviour(subject, find_modes(job.task), GYMNASIUM, progress=False).behaviour
    del curve["seconds"]
    return {
        **job.record(),
        **curve,
        "memory_s_mb": [(round(s), round(mb, 1)) for s, mb in memory],
        "growth_mb_per_1000_iterations": round(growth_per_1000_iterations(memory, iterations), 2),
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
    parser = argument_parser(__doc__)
    parser.add_argument("--tables", nargs="+", choices=["soak", "resume", "long_run"], default=["resume", "long_run"])
    parser.add_argument("--minutes", type=float, default=60.0, help="soak begins no seed after these")
    parser.add_argument("--seed", type=int, default=1, help="of the long run")
    args = parser.parse_args()
    chosen = chosen_results(args)
    if "soak" in args.tables:
        soak_all(chosen, args.minutes, args.quick)
    if "resume" in args.tables:
        chosen.write("resume", resume(args.quick))
    if "long_run" in args.tables:
        chosen.add("long_run", long_run(args.seed, 10 if args.quick else LONG_ITERATIONS))
