# SPDX-License-Identifier: BSD-3-Clause
"""Training in several processes: ranks, collectives, and errors that name the ranks that are gone.

Collectives return their argument without a process group. torch is imported inside the functions that need it, so that
a wrong launch command fails at once.
"""

from __future__ import annotations

import contextlib
import os
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from trudi_rsl.errors import ConfigError, ProcessLostError

if TYPE_CHECKING:
    from torch import Tensor

TORCHRUN_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets for each process it starts."""
TIMEOUT = timedelta(minutes=10)
"""Longest wait in a gloo collective; NCCL's default, gloo's own is 30 minutes. It only matters for machines that
vanish from the network: a process that ends closes its connections, which the others notice at once."""
EXIT_NOTE_SECONDS = 5.0
"""How long a rank waits for the exit notes of the others; torchrun allows 30 s for shutting down."""


class Ranks(NamedTuple):
    """The place of a process among all that train together; the defaults are those of a single process."""

    rank: int = 0
    """Global rank; rank 0 writes logs and checkpoints."""
    local_rank: int = 0
    """Rank on this machine, which is also the index of its GPU."""
    world_size: int = 1
    """Number of processes on all machines."""

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0


def current_ranks() -> Ranks:
    """Return the ranks of this process, from the same environment variables that RSL-RL's runners read."""
    names = TORCHRUN_VARIABLES[:3]
    return Ranks(*(int(os.environ.get(name, default)) for name, default in zip(names, Ranks(), strict=True)))


def check_launch(distributed: bool) -> None:
    """Refuse the flag ``--distributed`` without torchrun, and torchrun without the flag.

    Raises:
        ConfigError: With the command to use.
    """
    command = "torchrun --nproc_per_node=PROCESSES -m trudi_rsl train --distributed ..."
    if distributed and not all(name in os.environ for name in TORCHRUN_VARIABLES):
        raise ConfigError(f"--distributed trains in several processes, which torchrun starts: {command}")
    if not distributed and (world_size := current_ranks().world_size) > 1:
        raise ConfigError(f"WORLD_SIZE is {world_size}, but training in several processes needs a flag: {command}")


@contextlib.contextmanager
def quiet_unless_rank0() -> Iterator[None]:
    """Discard stdout and warnings of every rank but 0 inside the block; stderr stays visible for all ranks."""
    if current_ranks().is_main:
        yield
        return
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def join_gloo(runner: Any) -> bool:
    """Join the processes that torchrun started in a gloo process group, and set an RSL-RL runner's ranks.

    RSL-RL itself only supports NCCL, which needs GPUs. An existing process group is used.

    Args:
        runner: Has ``device`` and ``cfg``; gets the attributes that ``_configure_multi_gpu`` sets in all versions.

    Returns:
        Whether the processes were joined; False for a single process and for devices other than the CPU.
    """
    import torch

    ranks = current_ranks()
    if ranks.world_size == 1 or torch.device(runner.device).type != "cpu":
        return False
    runner.gpu_global_rank, runner.gpu_local_rank, runner.gpu_world_size = ranks
    runner.is_distributed = True
    # RSL-RL 3 reads the attribute, newer versions read the configuration
    names = ("global_rank", "local_rank", "world_size")
    runner.multi_gpu_cfg = runner.cfg["multi_gpu"] = dict(zip(names, ranks, strict=True))
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", rank=ranks.rank, world_size=ranks.world_size, timeout=TIMEOUT)
    return True


def all_reduce_mean(x: Tensor) -> Tensor:
    """Return the mean of a floating-point tensor ``[...]`` over all ranks."""
    import torch

    if not torch.distributed.is_initialized():
        return x
    total = x.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()


def all_reduce_means(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the means of floating-point tensors ``[...]`` over all ranks, by one all-reduce."""
    import torch

    flat = all_reduce_mean(torch.cat([x.flatten() for x in tensors]))
    parts = flat.split([x.numel() for x in tensors])
    return [part.view_as(x) for part, x in zip(parts, tensors, strict=True)]


def all_gather(x: Tensor) -> Tensor:
    """Return the tensors ``[...]`` of all ``P`` ranks in the order of the ranks, ``[P, ...]``."""
    import torch

    if not torch.distributed.is_initialized():
        return x[None]
    gathered = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, x.contiguous())
    return torch.stack(gathered)


def broadcast_from_rank0(value: str | None) -> str | None:
    """Return rank 0's ``value`` on every rank."""
    import torch

    if not torch.distributed.is_initialized():
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


@contextlib.contextmanager
def detect_lost_ranks(rescue: Callable[[], str]) -> Iterator[None]:
    """Leave an exit note for the other ranks on any error, and turn a failed collective into the names of lost ranks.

    Raises:
        ProcessLostError: If a collective fails in the block; names the lost ranks and quotes ``rescue``, which saves
            the training's progress and returns a sentence about that.
    """
    try:
        yield
    except Exception as error:
        import torch

        if not torch.distributed.is_initialized():
            raise
        if not _from_torch_distributed(error):
            _ExitNotes().leave(f"{type(error).__name__}: {error}")
            raise
        notes = _ExitNotes()
        notes.leave("")
        rescued = rescue()
        if torch.distributed.get_backend() == "gloo":
            # closing the connections ends the collectives in which other ranks wait for this one; the traceback's
            # frames hold the group and would keep them open
            traceback.clear_frames(error.__traceback__)
            torch.distributed.destroy_process_group()
        raise ProcessLostError(f"{notes.read()} {rescued}") from error


def _from_torch_distributed(error: Exception) -> bool:
    """Return whether torch.distributed raised an error; its backends share no exception class."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).startswith("torch.distributed")


class _ExitNotes:
    """Why each rank left, kept in torchrun's rendezvous store, which outlives the ranks."""

    def __init__(self) -> None:
        # documented as public
        from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

        self._ranks = current_ranks()
        self._store: Any = None
        # the store may be gone or not torchrun's; the message then names no ranks
        with contextlib.suppress(RuntimeError, KeyError, ValueError):
            host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            timeout = timedelta(seconds=EXIT_NOTE_SECONDS)
            store = TCPStore(host, port, timeout=timeout, wait_for_workers=False)
            # the store outlives a restart of all ranks, so each restart has its own keys
            restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            self._store = PrefixStore(f"trudi_rsl/{restart}", store)

    def leave(self, reason: str) -> None:
        """Note why this rank leaves; an empty reason means that another rank left first."""
        if self._store is not None:
            with contextlib.suppress(RuntimeError):
                self._store.set(str(self._ranks.rank), reason)

    def read(self) -> str:
        """Return a sentence about the lost ranks, once all have left a note or the time for that is over."""
        this = f"Rank {self._ranks.rank} of {self._ranks.world_size}"
        unnamed = f"{this} lost another rank; torchrun's output names it."
        if self._store is None:
            return unnamed
        keys = [str(rank) for rank in range(self._ranks.world_size)]
        with contextlib.suppress(RuntimeError):  # the time is over
            self._store.wait(keys)
        try:
            reasons = {key: self._store.get(key).decode() for key in keys if self._store.check([key])}
        except RuntimeError:
            return unnamed
        causes = [f"rank {rank} ended ({reason})" for rank, reason in reasons.items() if reason]
        if silent := [key for key in keys if key not in reasons]:
            subject, verb = ("rank", "is") if len(silent) == 1 else ("ranks", "are")
            causes.append(f"{subject} {', '.join(silent)} {verb} gone without a note (killed, crashed or unreachable)")
        return f"{this} cannot continue: {'; '.join(causes) or 'the connection broke'}."
