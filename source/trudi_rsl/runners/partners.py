# SPDX-License-Identifier: BSD-3-Clause
"""The other processes of one training: joining them on CPUs, agreeing with them, and what to say when one is gone."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import torch

from trudi_rsl.errors import ProcessLostError
from trudi_rsl.ranks import this_process
from trudi_rsl.runners.ending import TrainingEnds

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others, as NCCL's default; gloo's own is 30 minutes. One that ends is noticed at
once, so this is for machines that vanish from the network."""

ANSWER_SECONDS = 5.0
"""How long the processes that are left tell each other that they are; torchrun gives them 30 s to end."""


def join_on_cpu(runner: Any) -> bool:
    """Join the processes that torchrun started, over gloo, and tell an RSL-RL runner its place among them.

    RSL-RL's own way is NCCL, so it asks for a GPU. A process group that somebody has made already is taken as it is.

    Args:
        runner: With ``device`` and ``cfg``; gets the attributes that ``_configure_multi_gpu`` sets in all versions.

    Returns:
        False if there are no other processes or the device is no CPU, in which case nothing was done.
    """
    ranks = this_process()
    if ranks.world_size == 1 or torch.device(runner.device).type != "cpu":
        return False
    runner.gpu_global_rank, runner.gpu_local_rank, runner.gpu_world_size = ranks
    runner.is_distributed = True
    # RSL-RL 3 reads the attribute, newer versions the configuration
    runner.multi_gpu_cfg = runner.cfg["multi_gpu"] = {
        "global_rank": ranks.rank,
        "local_rank": ranks.local_rank,
        "world_size": ranks.world_size,
    }
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", rank=ranks.rank, world_size=ranks.world_size, timeout=TIMEOUT)
    return True


def of_main_process(value: str | None) -> str | None:
    """Return what process 0 calls this with, in every process."""
    if not torch.distributed.is_initialized():
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


@contextlib.contextmanager
def with_partners(rescue: Callable[[], str]) -> Iterator[None]:
    """Tell the other processes why this one leaves, and turn the failure of a collective into which of them is gone.

    Args:
        rescue: Keeps what has been learned so far, and returns a sentence about that.

    Raises:
        ProcessLostError: If a collective fails in the block, naming the processes that are gone and what ``rescue``
            said.
    """
    try:
        yield
    except TrainingEnds:
        raise
    except Exception as error:
        if not torch.distributed.is_initialized():
            raise
        if not _in_collective(error):
            _Notices().leave(f"{type(error).__name__}: {error}")
            raise
        notices = _Notices()
        notices.leave("")
        kept = rescue()
        if torch.distributed.get_backend() == "gloo":
            # those that still wait for this process's part in a collective learn so that there will be none; the
            # error's frames hold the group, and would keep its connections open
            traceback.clear_frames(error.__traceback__)
            torch.distributed.destroy_process_group()
        raise ProcessLostError(f"{notices.read()} {kept}") from error


def _in_collective(error: Exception) -> bool:
    """Return whether the error was raised by torch.distributed, whose backends share no class of errors."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).startswith("torch.distributed")


class _Notices:
    """Short notes of processes that leave, in the store by which they met: torchrun's outlives them all."""

    def __init__(self) -> None:
        self._ranks = this_process()
        self._store: Any = None
        # a store that is gone, or was none of torchrun's, leaves the message shorter
        with contextlib.suppress(RuntimeError, KeyError, ValueError):
            host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            timeout = timedelta(seconds=ANSWER_SECONDS)
            store = torch.distributed.TCPStore  # pyright: ignore[reportPrivateImportUsage]  documented none the less
            self._store = store(host, port, timeout=timeout, wait_for_workers=False)

    def leave(self, reason: str) -> None:
        """Note why this process leaves; an empty reason says that it leaves since another did."""
        if self._store is not None:
            with contextlib.suppress(RuntimeError):
                self._store.set(self._key(self._ranks.rank), reason)

    def read(self) -> str:
        """Return a sentence about who left, when all have or the time to answer is over."""
        everyone = range(self._ranks.world_size)
        whose = f"Rank {self._ranks.rank} of {self._ranks.world_size}"
        reasons: dict[int, str] = {}
        try:
            end = time.monotonic() + ANSWER_SECONDS
            while self._store is not None and len(reasons) < len(everyone):
                came = [rank for rank in everyone if rank not in reasons and self._store.check([self._key(rank)])]
                reasons |= {rank: self._store.get(self._key(rank)).decode() for rank in came}
                if time.monotonic() > end:
                    break
                time.sleep(0.05)
        except RuntimeError:
            self._store = None
        if self._store is None:
            return f"{whose} lost another process, which torchrun names."
        silent = [str(rank) for rank in everyone if rank not in reasons]
        causes = [f"rank {rank} ended ({reason})" for rank, reason in reasons.items() if reason]
        if silent:
            gone = f"rank {silent[0]} is" if len(silent) == 1 else f"ranks {', '.join(silent)} are"
            causes.append(f"{gone} gone without a word (killed, crashed or out of reach)")
        return f"{whose} cannot train on: {'; '.join(causes) or 'the connection broke'}."

    @staticmethod
    def _key(rank: int) -> str:
        # the store outlives a restart of all processes
        return f"trudi_rsl/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{rank}"
