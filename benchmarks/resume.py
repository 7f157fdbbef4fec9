# SPDX-License-Identifier: BSD-3-Clause
"""Kill trainings, resume them, and measure how far their parameters are from those of trainings that were not killed.

Writes ``benchmarks/results/resume.json``: the largest absolute difference over all networks, by algorithm.

    python benchmarks/resume.py
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from learning import one_thread
from rich.progress import track
from soak import EXPERIMENT, TASK, progress_of

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.config.run_folder import find_checkpoint

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "benchmarks" / "results" / "resume.json"
ALGORITHMS = ("trudi", "reppo", "dime", "ppo", "spo", "dppo", "fpo")
ITERATIONS, KILLED_AFTER = 6, 3


def train(algo: str, folder: Path, kill: bool) -> Path:
    """Train in ``folder``, killed once and resumed if asked for, and return the newest checkpoint."""
    experiment = folder / "logs" / "rsl_rl" / (EXPERIMENT if algo == "trudi" else f"{EXPERIMENT}_{algo}")
    while (done := progress_of(experiment)[0]) < ITERATIONS:
        command = [sys.executable, str(ROOT / "scripts" / "train.py"), "--task", TASK, "--algo", algo, "--headless"]
        command += ["--seed", "1", "--device", "cpu", "--max_iterations", str(ITERATIONS - done)]
        command += ["agent.save_interval=1", "agent.evaluation_episodes=1", *["--resume"] * bool(done)]
        process = subprocess.Popen(command, cwd=folder, env=one_thread(), stdout=subprocess.DEVNULL)
        while kill and not done and process.poll() is None:
            if progress_of(experiment)[0] >= KILLED_AFTER:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.1)
        process.wait()
    return find_checkpoint(experiment)


def difference(algo: str) -> float:
    """Return the largest absolute difference of parameters and normalisers."""
    with tempfile.TemporaryDirectory() as straight, tempfile.TemporaryDirectory() as killed:
        states = [
            read_checkpoint(train(algo, Path(folder), kill)) for folder, kill in ((straight, False), (killed, True))
        ]
    return max(
        (value.double() - states[1][part][name].double()).abs().max().item()
        for part in ("actor_state_dict", "critic_state_dict")
        for name, value in states[0][part].items()
    )


def main() -> None:
    """Measure all algorithms."""
    record = {
        "task": TASK,
        "iterations": ITERATIONS,
        "killed_after": KILLED_AFTER,
        "differences": {algo: difference(algo) for algo in track(ALGORITHMS, "algorithms")},
        "versions": {p: version(p) for p in ("torch", "rsl-rl-lib", "gymnasium", "mujoco")},
    }
    OUTPUT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
