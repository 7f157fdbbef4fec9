# SPDX-License-Identifier: BSD-3-Clause
"""ManiSkill's CPU simulations in worker processes, each with a part of the environments."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from trudi_rsl.errors import ProcessLostError, one_line

if TYPE_CHECKING:
    from trudi_rsl.hosts.maniskill.make import TaskOptions
    from trudi_rsl.hosts.maniskill.simulations import Step

ENVS_PER_WORKER = 8
"""Environments below which a further process costs more than it saves: its memory, and seconds of its start."""
CLOSE_SECONDS = 5.0
"""How long a worker may take to end before it is killed."""


def count_workers(num_envs: int) -> int:
    """Return the number of workers for a number of environments: one per core, but 1 if there are few environments.

    Several ranks of a training, started by torchrun, share the machine's cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(cores // ranks, num_envs // ENVS_PER_WORKER))


class WorkerSimulations:
    """:class:`~trudi_rsl.hosts.maniskill.simulations.CpuSimulations` in worker processes.

    The results do not depend on the number of workers, bitwise. Workers end with this process, however it ends.

    Args:
        options: Checked options of the task.
        num_envs: E.
        num_workers: Number of processes, at most E.
        render_mode: ManiSkill's render mode of environment 0.

    Raises:
        ConfigError: The simulations cannot be made.
        ProcessLostError: A worker ended; later calls raise it, too.
    """

    def __init__(self, options: TaskOptions, num_envs: int, num_workers: int, render_mode: str | None = None) -> None:
        self._ends = np.linspace(0, num_envs, num_workers + 1).astype(int).tolist()[1:]
        self._starts = [0, *self._ends[:-1]]
        self._workers = [_Worker(options.task, first=i == 0) for i in range(num_workers)]
        try:
            for start, end, worker in zip(self._starts, self._ends, self._workers, strict=True):
                worker.send("__init__", options, end - start, render_mode if start == 0 else None)
            self.layout = _receive_all(self._workers)[0]
        except BaseException:
            self.close()
            raise

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
        """Start new episodes, each determined by its seed, and return their observations ``[K, O]``."""
        rows, seed_of = np.asarray(indices), np.asarray(seeds)
        homes = np.searchsorted(self._ends, rows, side="right")
        used = np.unique(homes).tolist()
        for w in used:
            mine = homes == w
            self._workers[w].send("reset", (rows[mine] - self._starts[w]).tolist(), seed_of[mine].tolist())
        obs = np.empty((len(indices), self.layout.num_obs), dtype=np.float32)
        for w, first in zip(used, _receive_all([self._workers[w] for w in used]), strict=True):
            obs[homes == w] = first
        return obs

    def step(self, actions: np.ndarray) -> Step:
        """Step all environments with actions ``[E, A]`` inside the bounds."""
        steps = self._call_all("step", actions)
        parts = zip(*steps, strict=True)
        return type(steps[0])(*(None if part[0] is None else np.concatenate(part) for part in parts))

    def replay(
        self, seeds: Sequence[int], offsets: Sequence[int], counts: Sequence[int], actions: np.ndarray
    ) -> np.ndarray:
        """Repeat the running episodes; see :meth:`CpuSimulations.replay`."""
        return np.concatenate(self._call_all("replay", seeds, offsets, counts, actions))

    def set_lengths(self, lengths: Sequence[int]) -> None:
        """Set the steps that the time limit has counted, ``[E]``."""
        self._call_all("set_lengths", lengths)

    def render(self) -> np.ndarray:
        """Return an image ``[height, width, 3]`` of environment 0, uint8."""
        self._workers[0].send("render")
        return _receive_all(self._workers[:1])[0]

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()

    def _call_all(self, method: str, *rows: Any) -> list[Any]:
        """Call a method in every worker with its rows of the arguments ``[E, ...]`` and return the results."""
        for start, end, worker in zip(self._starts, self._ends, self._workers, strict=True):
            worker.send(method, *(row[start:end] for row in rows))
        return _receive_all(self._workers)


class _Worker:
    """A process that runs :func:`_serve`, connected by a pair of sockets.

    Not :mod:`multiprocessing`'s, which would run the user's main script a second time unless that guards against it.
    """

    def __init__(self, task: str, first: bool) -> None:
        self._task = task
        ours, theirs = socket.socketpair()
        with theirs:
            code = f"from {__name__} import _serve; _serve({theirs.fileno()}, {first})"
            path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                stdout=None if first else subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())

    def send(self, method: str, *args: Any) -> None:
        """Start a call of a method of the worker's simulations."""
        with contextlib.suppress(BrokenPipeError):  # `receive` reports it
            self._connection.send((method, args))

    def receive(self) -> tuple[Any, Exception | None]:
        """Return the result of the call and its error.

        Raises:
            ProcessLostError: The process has ended.
        """
        try:
            return self._connection.recv()
        except (EOFError, ConnectionResetError) as lost:
            code = self._process.wait()
            why = f"signal {-code}; a signal 9 often means too little memory" if code < 0 else f"exit code {code}"
            raise ProcessLostError(
                f"A worker process of {self._task} ended ({why}). Fewer environments or env.workers need less memory."
            ) from lost

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _receive_all(workers: Sequence[_Worker]) -> list[Any]:
    """Return the results of a call in several workers; raise its first error after all have answered."""
    results, errors = zip(*(worker.receive() for worker in workers), strict=True)
    for error in errors:
        if error is not None:
            raise error
    return list(results)


def _serve(handle: int, first: bool) -> None:
    """Answer calls until the other end closes the connection."""
    # A stop of the whole process group is the training's to handle: it finishes its iteration with these simulations.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    import torch

    from trudi_rsl.hosts.maniskill.make import quiet
    from trudi_rsl.hosts.maniskill.simulations import CpuSimulations

    torch.set_num_threads(1)
    simulations: Any = None
    # all workers would warn alike
    with (
        contextlib.nullcontext() if first else quiet(),
        Connection(handle) as connection,
        contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError),
    ):
        while True:
            method, args = connection.recv()
            result = error = None
            try:
                if method == "__init__":
                    simulations = CpuSimulations(*args)
                    result = simulations.layout
                else:
                    result = getattr(simulations, method)(*args)
            except Exception as raised:
                error = _portable(raised)
            connection.send((result, error))


def _portable(error: Exception) -> Exception:
    """Return an error that the other process can load."""
    from trudi_rsl.errors import ConfigError

    known = isinstance(error, ConfigError | ImportError)
    return type(error)(str(error)) if known else RuntimeError(f"{type(error).__name__}: {one_line(error)}")
