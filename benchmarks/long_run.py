# SPDX-License-Identifier: BSD-3-Clause
"""Train thirty times as long as the preset does, and store the return, the memory and the modes that are left.

Policies of flows are known to collapse long after they have learned. The task is ``PlanarObstacle-v0``, whose top is
known and whose two best behaviours a collapse would reduce to one.

    python benchmarks/long_run.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from host_runs import learning_curve
from learning import one_thread
from rich.progress import Progress

from trudi_rsl.config import load_params
from trudi_rsl.evaluation.behaviour import measure_behaviour
from trudi_rsl.evaluation.identify import newest_checkpoint, read_subject
from trudi_rsl.hosts.registry import GYMNASIUM
from trudi_rsl.tasks import find_modes

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "long_run"
TASK = "PlanarObstacle-v0"
ITERATIONS = 3000
SAMPLE_SECONDS = 10.0
SETTLED = 0.2
"""Share of a training after which memory should not grow any more: what is compiled and buffered is so by then."""


def train(seed: int, folder: Path) -> tuple[Path, list[tuple[float, float]]]:
    """Train in ``folder``; return the run folder, and seconds and megabytes of memory of the process.

    Raises:
        RuntimeError: If training fails.
    """
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "--task", TASK, "--seed", str(seed), "--headless"]
    command += ["--max_iterations", str(ITERATIONS), "--device", "cpu", "agent.keep_checkpoints=3"]
    command += ["agent.evaluation_episodes=null"]
    memory: list[tuple[float, float]] = []
    start = time.monotonic()
    with (folder / "output.txt").open("w") as output, Progress() as progress:
        bar = progress.add_task("training", total=ITERATIONS)
        process = subprocess.Popen(command, cwd=folder, env=one_thread(), stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            memory.append((time.monotonic() - start, resident_megabytes(process.pid)))
            progress.update(bar, completed=(folder / "output.txt").read_text().count("Learning iteration"))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError((folder / "output.txt").read_text()[-3000:])
    return next((folder / "logs" / "rsl_rl").glob("*/*/params")).parent, memory


def resident_megabytes(pid: int) -> float:
    """Return the memory of a process (Linux), 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def growth_per_1000_iterations(memory: list[tuple[float, float]], iterations: int) -> float:
    """Return the slope of a line through the memory of the settled part of a training, in megabytes."""
    seconds, megabytes = np.array([sample for sample in memory if sample[1] > 0.0]).T
    settled = seconds > SETTLED * seconds[-1]
    slope = np.polyfit(seconds[settled], megabytes[settled], 1)[0]
    return float(slope * seconds[-1] / iterations * 1000.0)


def measure(seed: int) -> dict[str, Any]:
    """Train, and return the record."""
    with tempfile.TemporaryDirectory() as name:
        run, memory = train(seed, Path(name))
        params = load_params(run)
        curve = learning_curve(run, params.agent.num_steps_per_env * params.env.num_envs)
        subject = read_subject(newest_checkpoint(run))
        behaviour = measure_behaviour(subject, find_modes(TASK), GYMNASIUM, progress=False).behaviour
    return {
        "task": TASK,
        "seed": seed,
        "iterations": ITERATIONS,
        **curve,
        "memory_s_mb": [(round(s), round(mb, 1)) for s, mb in memory],
        "growth_mb_per_1000_iterations": round(growth_per_1000_iterations(memory, ITERATIONS), 2),
        "behaviour": {k: v for k, v in behaviour.to_dict().items() if k != "runs"},
        "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "gymnasium")},
    }


def main() -> None:
    """Measure one seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"seed{seed}.json").write_text(json.dumps(measure(seed)) + "\n")


if __name__ == "__main__":
    main()
