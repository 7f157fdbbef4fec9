# SPDX-License-Identifier: BSD-3-Clause
"""Where the runs of an experiment are carried out: here, or through the libraries of Hydra's launchers."""

from __future__ import annotations

import importlib
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from trudi_rsl.errors import ConfigError
from trudi_rsl.experiments import worker

Launcher = Literal["local", "joblib", "submitit"]
LAUNCHERS: tuple[str, ...] = get_args(Launcher)
Ended = Generator[tuple[Path, int], None, None]
SECONDS_PER_LOOK = 0.5
FAILED = 1


def launch(
    launcher: Launcher,
    folders: Sequence[Path],
    train_script: Path,
    workers: int,
    log_folder: Path,
    options: Mapping[str, Any] | None = None,
) -> Ended:
    """Carry out runs, each in a process of its own, and tell of each that ends.

    Closing the iterator, or an exception in it, interrupts what is running.

    Args:
        launcher: ``local`` starts the processes itself, ``joblib`` under whatever backend is configured, ``submitit``
            as jobs of Slurm (on this machine where there is no Slurm).
        folders: Of the runs; each holds its job.
        train_script: Path of ``scripts/train.py``.
        workers: Runs at the same time, at least 1; for Slurm the most jobs of the array at the same time.
        log_folder: Where submitit keeps its files.
        options: Parameters of submitit's executor, as ``timeout_min`` and ``slurm_partition``.

    Returns:
        Gives a run's folder and its exit status whenever one ends.

    Raises:
        ConfigError: If an option is unknown to the launcher, or ``workers`` is below 1.
        ImportError: If the launcher's library is not installed, with the command that installs it.
    """
    library = require(launcher, workers, options)
    calls = [(str(folder.absolute()), str(train_script.absolute())) for folder in folders]
    if launcher == "local":
        return _local(calls, workers)
    if launcher == "joblib":
        return _joblib(library, calls, workers)
    return _submitit(_executor(library, log_folder, workers, options or {}), calls, workers)


def require(launcher: Launcher, workers: int = 1, options: Mapping[str, Any] | None = None) -> Any:
    """Return the library of a launcher that can work as asked, None for ``local``.

    Args:
        launcher: See :func:`launch`, as the others.
        workers: Runs at the same time.
        options: Of the launcher.

    Raises:
        ConfigError: If it has no options, or ``workers`` is below 1.
        ImportError: If its library is not installed.
    """
    if workers < 1:
        raise ConfigError(f"The number of workers must be at least 1, got {workers}.")
    if options and launcher != "submitit":
        raise ConfigError(f"{', '.join(options)}: options are for the launcher submitit, not for {launcher}.")
    if launcher == "local":
        return None
    try:
        return importlib.import_module(launcher)
    except ImportError as error:
        raise ImportError(f'The launcher {launcher} needs its library: pip install "trudi_rsl[sweep]"') from error


def _local(calls: Sequence[tuple[str, str]], workers: int) -> Ended:
    waiting, running = deque(calls), {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                folder, script = waiting.popleft()
                running[folder] = worker.start(folder, script)
            for folder, process in list(running.items()):
                if process.poll() is not None:
                    del running[folder]
                    yield Path(folder), process.returncode
            time.sleep(SECONDS_PER_LOOK)
    finally:
        for process in running.values():
            worker.interrupt(process)
        for process in running.values():
            process.wait()


def _call(folder: str, script: str) -> tuple[str, int]:
    return folder, worker.run(folder, script)


def _joblib(joblib: Any, calls: Sequence[tuple[str, str]], workers: int) -> Ended:
    # each call waits for a process of its own, so threads do unless another backend is configured
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", prefer="threads")
    try:
        for folder, status in parallel(joblib.delayed(_call)(*call) for call in calls):
            yield Path(folder), status
    finally:
        worker.interrupt_all()


def _executor(submitit: Any, log_folder: Path, workers: int, options: Mapping[str, Any]) -> Any:
    executor = submitit.AutoExecutor(folder=str(log_folder))
    try:
        executor.update_parameters(**{"slurm_array_parallelism": workers, "cpus_per_task": 1, **options})
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"submitit refuses its options: {error}") from error
    return executor


def _submitit(executor: Any, calls: Sequence[tuple[str, str]], workers: int) -> Ended:
    # Slurm limits its array by itself; without Slurm nothing would
    waiting, running = deque(calls), {}
    if executor.cluster == "slurm":
        running = dict(zip(waiting, executor.map_array(worker.run, *zip(*waiting, strict=True)), strict=True))
        waiting.clear()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                call = waiting.popleft()
                running[call] = executor.submit(worker.run, *call)
            for call, job in list(running.items()):
                if job.done():
                    del running[call]
                    yield Path(call[0]), FAILED if job.exception() is not None else job.result()
            time.sleep(SECONDS_PER_LOOK)
    finally:
        for job in running.values():
            job.cancel()
