# SPDX-License-Identifier: BSD-3-Clause
"""Which of a training's processes this is, as torchrun tells it in the environment. Imports no torch."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from trudi_rsl.errors import ConfigError

ENVIRONMENT = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables that torchrun sets for each process that it starts."""


class Ranks(NamedTuple):
    """The place of a process among all that train together; the only one where nothing else is said."""

    rank: int = 0
    """Number among all processes; 0 writes."""
    local_rank: int = 0
    """Number among those of this machine, and of its GPU."""
    world_size: int = 1
    """Number of processes on all machines."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints for all."""
        return self.rank == 0


def this_process() -> Ranks:
    """Return the place of this process, read from the variables that RSL-RL's runners read."""
    return Ranks(*(int(os.environ.get(name, own)) for name, own in zip(ENVIRONMENT[:3], Ranks(), strict=True)))


def check_launch(distributed: bool) -> None:
    """Refuse ``--distributed`` without torchrun, and torchrun without ``--distributed``.

    Args:
        distributed: Whether the flag was given.

    Raises:
        ConfigError: With the command to use.
    """
    command = "torchrun --nproc_per_node=PROCESSES scripts/train.py --distributed ..."
    if distributed and not all(name in os.environ for name in ENVIRONMENT):
        raise ConfigError(f"--distributed trains in several processes, which torchrun starts: {command}")
    if not distributed and (world_size := this_process().world_size) > 1:
        raise ConfigError(
            f"WORLD_SIZE says that {world_size} processes train together, which is what --distributed is for: {command}"
        )


@contextlib.contextmanager
def quiet_unless_main() -> Iterator[None]:
    """Let every process but the main one print nothing inside the block; what goes to stderr is shown of all."""
    if this_process().is_main:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
