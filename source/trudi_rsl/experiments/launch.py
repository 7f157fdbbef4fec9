# SPDX-License-Identifier: BSD-3-Clause
"""Running commands side by side, on this machine or as jobs of Slurm; submitit starts both.

::

    jobs = [Command("a", [sys.executable, "train.py", "--seed", "1"], Path("a.txt")), ...]
    for end in run_jobs(jobs, workers=2):
        print(end.job.name, end.failure or "finished")
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trudi_rsl import packages
from trudi_rsl.choices import Launcher
from trudi_rsl.errors import ConfigError, one_line

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
"""Added to the environment of each command: one thread, and output that can be read while the command runs."""
POLL_SECONDS = 0.5
TIMED_OUT = ("timed-out", "TIMEOUT")
"""What submitit and Slurm say of a job that ended at its time limit."""
TIME_LIMITS = {"local": 365 * 24 * 60, "slurm": 24 * 60}
"""Minutes after which a job ends unless ``timeout_min`` is set; submitit's own limits are 2 and 5 minutes."""


@dataclass(frozen=True)
class Command:
    """A command to run as one job."""

    name: str
    arguments: Sequence[str]
    """The program and its arguments."""
    output: Path
    """File that standard output and error are appended to, after a line ``--- TIME COMMAND``; its folder exists."""
    folder: Path | None = None
    """Working directory; None is the current one."""


class End(NamedTuple):
    """How a job ended."""

    job: Command
    status: int
    """Exit status of the command; 1 if it could not be started."""
    failure: str
    """Exit status and last line of output in a sentence; empty for status 0."""


def run_jobs(
    jobs: Sequence[Command],
    workers: int = 1,
    launcher: Launcher = "local",
    options: Mapping[str, Any] | None = None,
    log_folder: Path = Path("submitit"),
    on_poll: Callable[[], None] = lambda: None,
) -> Generator[End, None, None]:
    """Run commands, each in a process of its own on one thread, and yield each when it ends.

    A failing job does not stop the others. If the generator is closed or an exception (such as Ctrl-C) passes through
    it, running jobs get one SIGINT; local ones have ended when it returns. Call it in the main thread.

    Args:
        jobs: Started in this order.
        workers: Largest number of jobs at the same time, at least 1.
        launcher: Where they run. A Slurm launch submits one job array.
        options: Parameters of ``submitit.AutoExecutor``, such as ``timeout_min`` and ``slurm_partition``.
        log_folder: Where submitit keeps the files of Slurm's jobs; the nodes must see it.
        on_poll: Called about twice a second, for example to move a progress bar.

    Raises:
        ConfigError: If an option is unknown or impossible, or see :func:`require_launcher`.
    """
    submitit = require_launcher(launcher, workers, options)
    cluster = submitit.AutoExecutor.which() if launcher == "submitit" else launcher
    # local jobs are numbered by process ids, so that a folder must not be used twice
    with tempfile.TemporaryDirectory() if cluster == "local" else contextlib.nullcontext(str(log_folder)) as folder:
        executor = submitit.AutoExecutor(folder, cluster)
        parameters = {"timeout_min": TIME_LIMITS.get(cluster, TIME_LIMITS["slurm"]), "cpus_per_task": 1}
        parameters |= {} if cluster == "local" else {"slurm_array_parallelism": workers}
        parameters |= options or {}
        try:
            executor.update_parameters(**parameters)
        except (AssertionError, NameError, TypeError, ValueError) as error:
            raise ConfigError(f"submitit refuses its options: {error}") from error
        yield from _run(executor, jobs, workers, on_poll, parameters["timeout_min"])


def require_launcher(launcher: Launcher, workers: int = 1, options: Mapping[str, Any] | None = None) -> Any:
    """Return the module ``submitit``, after checking the arguments of :func:`run_jobs`.

    Raises:
        ConfigError: If ``workers`` is below 1, or there are options for ``local``, which has none.
        ImportError: If submitit is not installed, with the command that installs it.
    """
    if workers < 1:
        raise ConfigError(f"The number of workers must be at least 1, got {workers}.")
    if options and launcher == "local":
        raise ConfigError(f"{', '.join(options)}: options are for the launcher slurm, not for local.")
    try:
        import submitit
    except ImportError as error:
        raise packages.missing("A sweep", packages.SWEEP) from error
    return submitit


def _run(
    executor: Any, jobs: Sequence[Command], workers: int, on_poll: Callable[[], None], minutes: float
) -> Iterator[End]:
    local = executor.cluster == "local"
    # Slurm limits the number of running jobs itself
    running = {} if local else dict(zip(executor.map_array(_run_command, jobs), jobs, strict=True))
    waiting = deque(jobs if local else ())
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.popleft()
                # Ctrl-C reaches all processes of a terminal, and submitit kills a job one second after it
                with _sigint(signal.SIG_IGN):
                    running[executor.submit(_run_command, job, dict(os.environ))] = job
            yield from _pop_ended(running, minutes)
            on_poll()
            time.sleep(POLL_SECONDS)
    finally:
        if not local:
            for submitted in running:
                submitted.cancel()
        while local and (running := {submitted: job for submitted, job in running.items() if not submitted.done()}):
            for submitted in running:
                # passed on to _run_command; submitit's `cancel` would kill the job after one second
                os.kill(int(submitted.job_id), signal.SIGTERM)
            time.sleep(POLL_SECONDS)


def _pop_ended(running: dict[Any, Command], minutes: float) -> Iterator[End]:
    """Remove the jobs that have ended from ``running``, and yield them; ``minutes`` is their time limit."""
    for submitted in [submitted for submitted in running if submitted.done()]:
        job = running.pop(submitted)
        error = submitted.exception()
        if error is not None and any(sign in str(error) for sign in TIMED_OUT):
            yield End(
                job,
                1,
                f"ended by its time limit of {minutes:g} minutes, with a checkpoint; the launcher's option "
                f"timeout_min={2 * minutes:g} doubles it (full output: {job.output})",
            )
        elif error is not None:
            # one sentence, or a traceback between two lines of dashes
            trace = str(error).split("\n-----")[:2][-1].strip()
            yield End(job, 1, f"not carried out: {one_line(trace.splitlines()[-1])}")
        elif (status := submitted.result()) == 0:
            yield End(job, status, "")
        else:
            last = job.output.read_text(errors="replace").strip().splitlines()[-1].strip()
            yield End(job, status, f"exit status {status}, last line: {last} (full output: {job.output})")


def _run_command(job: Command, environment: Mapping[str, str] | None = None) -> int:
    """Run a command in a process group of its own and return its exit status; SIGTERM interrupts it once.

    Local jobs get the ``environment`` of the launching process: submitit hides the GPUs (``CUDA_VISIBLE_DEVICES=""``).
    """
    with job.output.open("ab") as output:
        output.write(f"\n--- {time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(job.arguments)}\n".encode())
        output.flush()
        with _sigint(signal.SIG_DFL):  # inherited by the command
            process = subprocess.Popen(
                job.arguments,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=job.folder,
                env={**(environment or os.environ), **ENVIRONMENT},
                start_new_session=True,
            )

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(process.pid, signal.SIGINT)

    signal.signal(signal.SIGTERM, interrupt)
    try:
        return process.wait()
    except BaseException:  # from the handler of a signal, such as submitit's at the time limit
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise


@contextlib.contextmanager
def _sigint(handler: signal.Handlers) -> Iterator[None]:
    """Change the handling of SIGINT in this process and its new child processes."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
