# SPDX-License-Identifier: BSD-3-Clause
"""Carries out one run in a process of its own: trains if that is not finished, then evaluates what is missing.

``python -m trudi_rsl.experiments.worker FOLDER TRAIN_SCRIPT`` is what launchers start.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from trudi_rsl.deploy.provenance import commit, versions
from trudi_rsl.errors import CheckpointError, ConfigError, NonFiniteError
from trudi_rsl.evaluation.checkpoints import newest_checkpoint, subject_of
from trudi_rsl.evaluation.measurement import Evaluation, EvaluationCfg, evaluations_of
from trudi_rsl.evaluation.policies import SamplerCfg
from trudi_rsl.experiments.job import LOCK_FILE, OUTPUT_FILE, RECORD_FILE, Job, write_json

BUSY = 75
"""Exit status where another process writes to the folder (sysexits.h: try again later)."""
_running: set[subprocess.Popen[bytes]] = set()
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
"""One thread, and output that can be read while the run is under way."""


def start(folder: str, train_script: str) -> subprocess.Popen[bytes]:
    """Start a worker for a run, on one thread, whose output goes to the run's ``output.txt``.

    It heads a process group of its own, so that an interrupt reaches it once, through :func:`interrupt`.
    """
    output = Path(folder) / OUTPUT_FILE
    command = [sys.executable, "-m", "trudi_rsl.experiments.worker", folder, train_script]
    paths = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(Path(__file__).parents[2]))))
    with output.open("ab") as file:
        file.write(f"\n--- {time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(command)}\n".encode())
        file.flush()
        return subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | ENVIRONMENT | {"PYTHONPATH": paths},
            start_new_session=True,
        )


def run(folder: str, train_script: str) -> int:
    """Carry out a run in a worker and return its exit status; for launchers that call functions."""
    process = start(folder, train_script)
    _running.add(process)
    try:
        return process.wait()
    except BaseException:
        interrupt(process)
        process.wait()
        raise
    finally:
        _running.discard(process)


def interrupt_all() -> None:
    """Interrupt the workers that :func:`run` waits for in threads, which Ctrl-C does not reach."""
    for process in list(_running):
        interrupt(process)


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Let a worker end as after Ctrl-C; the policy so far is kept."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)


def carry_out(job: Job, train_script: str) -> int:
    """Train and evaluate, unless that is done.

    Args:
        job: The run.
        train_script: Path of ``scripts/train.py``.

    Returns:
        Exit status: 0, :data:`BUSY`, or that of a training that failed.

    Raises:
        CheckpointError, ConfigError, NonFiniteError: If the evaluation fails.
    """
    try:
        with FileLock(job.folder / LOCK_FILE, timeout=0):
            status = 0 if job.record() is not None else train(job, train_script)
            if status == 0:
                evaluate(job)
            return status
    except Timeout:
        print(f"Another process is writing to {job.folder}.")
        return BUSY


def train(job: Job, train_script: str) -> int:
    """Train as a user would, and leave a record in the run's folder.

    Returns:
        Exit status of the script.
    """
    before, begin = set(job.folder.iterdir()), time.time()
    with contextlib.chdir(Path(job.root).parents[1]):  # whose logs/rsl_rl is the root
        status = runpy.run_path(train_script)["main"](job.arguments)
    if status != 0:
        return status
    (attempt,) = (path for path in set(job.folder.iterdir()) - before if path.is_dir())
    record = {
        "checkpoint": newest_checkpoint(attempt).name,
        "settings": job.settings,
        "wall_clock_s": round(time.time() - begin, 1),
        "versions": versions(),
        "commit": commit(),
        "machine": machine(),
    }
    write_json(attempt / RECORD_FILE, record)
    return 0


def evaluations(job: Job, checkpoint: Path) -> list[Evaluation]:
    """Return the evaluations of a finished run."""
    cfg = EvaluationCfg(job.episodes, seed=job.evaluation_seed)
    return evaluations_of([subject_of(checkpoint, job.label)], [[SamplerCfg(**s) for s in job.samplers]], cfg)


def evaluate(job: Job) -> None:
    """Run the evaluations of a finished run that were not run before."""
    record = job.record()
    assert record is not None, "training has left a record"
    for evaluation in evaluations(job, record["checkpoint"]):
        if evaluation.cached() is None:
            evaluation.run()


def machine() -> str:
    """Return the processor's name and the number of cores."""
    names = [line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else "unknown processor"
    return f"{name}, {os.cpu_count()} cores"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def main() -> int:
    """Carry out the run whose folder is given."""
    folder, train_script = sys.argv[1:]
    # shells start background jobs with Ctrl-C ignored, which processes inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return carry_out(Job.read(Path(folder)), train_script)
    except (CheckpointError, ConfigError, NonFiniteError) as error:
        print(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
