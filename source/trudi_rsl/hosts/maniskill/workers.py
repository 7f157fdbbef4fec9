# SPDX-License-Identifier: BSD-3-Clause
"""ManiSkill's CPU simulations in this and in worker processes, each with a share of the environments."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trudi_rsl.errors import ConfigError, ProcessLostError, one_line
from trudi_rsl.hosts.maniskill.make import quiet
from trudi_rsl.hosts.maniskill.simulations import CpuSimulations, Step

if TYPE_CHECKING:
    from trudi_rsl.hosts.maniskill.make import TaskOptions

ENVS_PER_PROCESS = 8
"""Environments below which a further process costs more than it saves: its memory, and seconds of its start."""
CLOSE_SECONDS = 5.0
"""How long a worker may take to end before it is killed."""
# A stop of the whole process group is the training's to handle: it finishes its iteration with these simulations.
IGNORE_STOPS = "import signal\nfor name in (signal.SIGINT, signal.SIGTERM): signal.signal(name, signal.SIG_IGN)"
"""Python code that a worker runs before it imports anything else."""


def count_processes(num_envs: int) -> int:
    """Return the number of processes for a number of environments: one per core, but 1 if there are few environments.

    Several ranks of a training, started by torchrun, share the machine's cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(cores // ranks, num_envs // ENVS_PER_PROCESS))


class WorkerSimulations:
    """:class:`~trudi_rsl.hosts.maniskill.simulations.CpuSimulations` in this process and in workers.

    This process simulates, too, instead of waiting for one more worker, which would share a core with it: as each step
    ends with the slowest process, two processes on two cores are faster than three. The results do not depend on the
    number of processes, bitwise. The workers end with this process, however it ends.

    Args:
        options: Checked options of the task.
        num_envs: E.
        num_processes: Number of processes with this one, at least 2 and at most E.
        render_mode: ManiSkill's render mode of environment 0.

    Raises:
        ConfigError: The simulations cannot be made.
        ProcessLostError: A worker ended; later calls raise it, too.
    """

    def __init__(self, options: TaskOptions, num_envs: int, num_processes: int, render_mode: str | None = None) -> None:
        ends = np.linspace(0, num_envs, num_processes + 1).astype(int).tolist()
        self._shares = [slice(start, end) for start, end in itertools.pairwise(ends)]
        self._workers = [_Worker(options.task) for _ in self._shares[1:]]
        try:
            for worker, share in zip(self._workers, self._shares[1:], strict=True):
                worker.send("__init__", options, share.stop - share.start)
            self._own = CpuSimulations(options, ends[1], render_mode)
            _receive_all(self._workers)
        except BaseException:
            _close(self._workers)
            raise
        self.layout = self._own.layout

    def reset(self, indices: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
        """Start new episodes, each determined by its seed, and return their observations ``[K, O]``."""
        rows, seed_of = np.asarray(indices), np.asarray(seeds)
        inside = [(share.start <= rows) & (rows < share.stop) for share in self._shares]
        calls = [
            ((rows[mine] - share.start).tolist(), seed_of[mine].tolist()) if mine.any() else None
            for mine, share in zip(inside, self._shares, strict=True)
        ]
        obs = np.empty((len(indices), self.layout.num_obs), dtype=np.float32)
        for mine, first in zip(inside, self._call("reset", calls), strict=True):
            if first is not None:
                obs[mine] = first
        return obs

    def step(self, actions: np.ndarray) -> Step:
        """Step all environments with actions ``[E, A]`` inside the bounds."""
        parts = zip(*self._call_all("step", actions), strict=True)
        return Step(*(None if part[0] is None else np.concatenate(part) for part in parts))

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
        return self._own.render()

    def close(self) -> None:
        """Close the simulators and end the workers."""
        self._own.close()
        _close(self._workers)

    def _call_all(self, method: str, *rows: Any) -> list[Any]:
        """Call a method in every process with its rows of the arguments ``[E, ...]`` and return the results."""
        return self._call(method, [tuple(row[share] for row in rows) for share in self._shares])

    def _call(self, method: str, calls: Sequence[tuple[Any, ...] | None]) -> list[Any]:
        """Call a method in every process that has arguments and return the results, None for the others."""
        busy = []
        for worker, args in zip(self._workers, calls[1:], strict=True):
            if args is not None:
                worker.send(method, *args)
                busy.append(worker)
        try:
            own = None if calls[0] is None else getattr(self._own, method)(*calls[0])
        finally:
            answers = iter(_receive_all(busy))  # also after an error, or the next call would receive them
        return [own, *(None if args is None else next(answers) for args in calls[1:])]


class _Worker:
    """A process that runs :func:`_serve`, connected by a pair of sockets.

    Not :mod:`multiprocessing`'s, which would run the user's main script a second time unless that guards against it.
    """

    def __init__(self, task: str) -> None:
        self._task = task
        ours, theirs = socket.socketpair()
        with theirs:
            code = f"{IGNORE_STOPS}\nfrom {__name__} import _serve\n_serve({theirs.fileno()})"
            path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL,
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
    answers = [worker.receive() for worker in workers]
    for _, error in answers:
        if error is not None:
            raise error
    return [result for result, _ in answers]


def _close(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.close()


def _serve(handle: int) -> None:
    """Answer calls until the other end closes the connection."""
    torch.set_num_threads(1)
    simulations: Any = None
    # the first process has warned already
    with (
        quiet(),
        Connection(handle) as connection,
        contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError),
    ):
        while True:
            method, args = connection.recv()
            result = error = None
            try:
                if method == "__init__":
                    simulations = CpuSimulations(*args)
                else:
                    result = getattr(simulations, method)(*args)
            except Exception as raised:
                error = _portable(raised)
            connection.send((result, error))


def _portable(error: Exception) -> Exception:
    """Return an error that the other process can load."""
    known = isinstance(error, ConfigError | ImportError)
    return type(error)(str(error)) if known else RuntimeError(f"{type(error).__name__}: {one_line(error)}")
