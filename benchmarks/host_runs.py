# SPDX-License-Identifier: BSD-3-Clause
"""Training runs under a host's own command: what the benchmarks of hosts share."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import track

from trudi_rsl.config.event_file import Run, read_run

LOGGED = (
    *("Train/mean_reward", "Train/mean_episode_length", "Perf/collection_time", "Perf/learning_time"),
    *("Loss/path_kl", "Loss/gated_share", "Loss/entropy_per_dim", "Loss/alpha", "Loss/lambda", "Loss/td_error"),
    *("Loss/value_range_low", "Loss/value_range_high", "Loss/clipped_targets", "Loss/action_saturation"),
)

Job = TypeVar("Job")


def train(command: Sequence[str], folder: Path) -> tuple[Path, float]:
    """Run a training command in ``folder`` on one thread.

    Returns:
        The run folder, and the seconds it took, start-up included.

    Raises:
        RuntimeError: If the command fails; the message ends with what it printed last.
    """
    start = time.time()
    with (folder / "output.txt").open("w") as output:
        one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=folder, env=one_thread, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(folder / 'output.txt').read_text()[-3000:]}")
    return next((folder / "logs" / "rsl_rl").glob("*/*/params")).parent, time.time() - start


def learning_curve(run: Path, steps_per_iteration: int) -> dict[str, Any]:
    """Return environment steps, training returns, and the last value of all that was logged."""
    log = read_run(run, LOGGED)
    scalars = log.scalars
    iterations, returns = scalars["Train/mean_reward"]
    return {
        "env_steps": [(int(i) + 1) * steps_per_iteration for i in iterations],
        "returns": [round(float(v), 3) for v in returns],
        "seconds": elapsed_seconds(log),
        "final": {tag: float(values[-1]) for tag, (_, values) in sorted(scalars.items())},
    }


def elapsed_seconds(log: Run) -> list[float]:
    """Return the seconds of training by the end of each iteration with a return, compiling included, start-up not."""
    return [round(float(s), 2) for s in log.elapsed_seconds(log.scalars["Train/mean_reward"][0])]


def measure_missing(files: Mapping[Job, Path], measure: Callable[[Job], dict[str, Any]]) -> None:
    """Measure the runs that have no file yet, one after the other, so that an interrupted benchmark continues."""
    for run, file in track([(run, file) for run, file in files.items() if not file.exists()], "training runs"):
        record = measure(run)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record) + "\n")
