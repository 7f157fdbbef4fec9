# SPDX-License-Identifier: BSD-3-Clause
"""Train for an hour while things go wrong, and check that nothing is lost.

Trains HalfCheetah-v5 as ``learning.py`` does, one seed after the other, in processes that are killed and asked to end
at random times and that resume from what they left (``--resume``). Meanwhile simulators and minibatches give NaN and
the disk is full (``soak_worker.py``). One JSON file for each seed in ``benchmarks/results/soak``.

    python benchmarks/soak.py --minutes 60
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from learning import one_thread
from rich.progress import Progress
from scipy.stats import mannwhitneyu

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.config.run_folder import find_checkpoint
from trudi_rsl.errors import CheckpointError

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "soak"
TASK, EXPERIMENT = "HalfCheetah-v5", "halfcheetah-v5"
ITERATIONS, SAVE_INTERVAL, STEPS_PER_ITERATION = 150, 5, 2048
END_EVERY, KILLED = 50.0, 0.7
"""Mean seconds until a process is made to end, and the share of those ends that are kills."""
WARM_UP, MOST_GROWTH = 30, 50.0
"""Iterations of a process after which its memory counts, and MB by which it may grow per 1000 iterations then."""
SIGNIFICANCE = 0.05
UNDISTURBED = "halfcheetah_HalfCheetah-v5_trudi_preset_seed*.json"
"""Records of the same training without faults, as ``learning.py`` writes them."""


def progress_of(experiment: Path) -> tuple[int, float]:
    """Return the iterations that the newest good checkpoint has behind it, and its mean training return."""
    try:
        infos = read_checkpoint(find_checkpoint(experiment))["infos"]["logger"]
    except CheckpointError:
        return 0, float("nan")
    returns = infos["rewbuffer"]
    return infos["tot_timesteps"] // STEPS_PER_ITERATION, sum(returns) / max(len(returns), 1)


def train(seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Train one seed to its end through all faults, and return the record.

    Raises:
        RuntimeError: If training ends by itself with an error, or without an iteration.
    """
    chance, log, experiment = random.Random(seed), folder / "faults.jsonl", folder / "logs" / "rsl_rl" / EXPERIMENT
    log.touch()
    bar = progress.add_task(f"seed {seed}", total=ITERATIONS)
    segments: list[dict[str, Any]] = []
    start = time.time()
    while (done := progress_of(experiment)[0]) < ITERATIONS:
        progress.update(bar, completed=done)
        command = [sys.executable, str(ROOT / "benchmarks" / "soak_worker.py"), "--task", TASK, "--headless"]
        command += ["--seed", str(seed), "--device", "cpu", "--max_iterations", str(ITERATIONS - done)]
        command += [
            f"agent.save_interval={SAVE_INTERVAL}",
            "agent.keep_checkpoints=3",
            "agent.evaluation_episodes=null",
        ]
        command += ["--resume"] * bool(done)
        environment = one_thread() | {"SOAK_LOG": str(log), "SOAK_SEED": str(1000 * seed + len(segments))}
        before = len(log.read_text().splitlines())
        with (folder / f"output{len(segments)}.txt").open("w") as output:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
            try:
                process.wait(chance.expovariate(1.0 / END_EVERY))
                end = "by itself"
            except subprocess.TimeoutExpired:
                number = signal.SIGKILL if chance.random() < KILLED else signal.SIGTERM
                end = number.name
                process.send_signal(number)
                process.wait()
        events = [json.loads(line) for line in log.read_text().splitlines()[before:]]
        made = sum(event["event"] == "iteration" for event in events)
        kept = progress_of(experiment)[0]
        full = sum(event["event"] == "full disk" for event in events)
        lost = done + made - kept
        segments.append({"end": end, "from": done, "made": made, "lost": lost, "full disks": full})
        if end == "by itself" and (process.returncode or not made):
            raise RuntimeError((folder / f"output{len(segments) - 1}.txt").read_text()[-3000:])
    progress.update(bar, completed=ITERATIONS)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return {
        "task": TASK,
        "seed": seed,
        "iterations": ITERATIONS,
        "save_interval": SAVE_INTERVAL,
        "segments": segments,
        "faults": collections.Counter(e["event"] for e in events if e["event"] != "iteration"),
        "memory_in_use_mb": [e["memory_in_use_mb"] for e in events if e["event"] == "iteration"],
        "return": round(progress_of(experiment)[1], 3),
        "wall_clock_s": round(time.time() - start, 1),
        "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "gymnasium", "mujoco")},
    }


def memory_growth(record: dict[str, Any]) -> list[float]:
    """Return by how many MB each process of some length grew per 1000 iterations, its first ones left out."""
    memory, growth = record.get("memory_in_use_mb", []), []
    for segment in record["segments"]:
        own, memory = memory[: segment["made"]], memory[segment["made"] :]
        if len(own) >= 2 * WARM_UP:
            growth.append(1000.0 * (own[-1] - own[WARM_UP]) / (len(own) - 1 - WARM_UP))
    return growth


def stored(folder: Path, pattern: str) -> list[dict[str, Any]]:
    """Return the records in the files of a folder that match a pattern."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob(pattern))]


def check(records: list[dict[str, Any]], undisturbed: list[float]) -> None:
    """Check that nothing is lost beyond what is promised, memory is flat, and faults do not show in the returns.

    Args:
        records: What :func:`train` returned.
        undisturbed: Returns of the same training without faults.

    Raises:
        AssertionError: Saying which of these does not hold.
    """
    for record in records:
        for segment in record["segments"]:
            # a kill loses no more than what comes between two checkpoints that could be written
            assert segment["lost"] <= SAVE_INTERVAL * (1 + segment["full disks"]), f"Lost iterations: {segment}"
    growth = [value for record in records for value in memory_growth(record)]
    assert not growth or statistics.median(growth) < MOST_GROWTH, f"Memory grows, MB per 1000 iterations: {growth}"
    returns = [record["return"] for record in records]
    p_value = mannwhitneyu(returns, undisturbed).pvalue
    assert p_value > SIGNIFICANCE, f"Returns are not those of undisturbed training, p = {p_value:.3g}: {returns}"
    print(f"Holds for {len(records)} seeds: iterations lost, memory, returns (Mann-Whitney p = {p_value:.2g}).")


def main() -> None:
    """Train seed after seed until the time is over; a stored seed is not repeated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="no seed is begun after these")
    minutes = parser.parse_args().minutes
    RESULTS.mkdir(parents=True, exist_ok=True)
    end, seed = time.monotonic() + 60.0 * minutes, 1
    with Progress() as progress:
        while time.monotonic() < end:
            file = RESULTS / f"seed{seed}.json"
            if not file.exists():
                with tempfile.TemporaryDirectory() as folder:
                    record = train(seed, Path(folder), progress)
                file.write_text(json.dumps(record) + "\n")
            seed += 1
    undisturbed = [record["returns"][-1] for record in stored(RESULTS.parent / "learning", UNDISTURBED)]
    check(stored(RESULTS, "seed*.json"), undisturbed)


if __name__ == "__main__":
    main()
