# SPDX-License-Identifier: BSD-3-Clause
"""TensorBoard logs that a full disk or a lost folder interrupts, and does not end the training with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

from torch.utils.tensorboard import SummaryWriter

RETRY_SECONDS = 60.0
"""Time after which writing is tried again; every try makes a file."""

_add_scalar, _close = SummaryWriter.add_scalar, SummaryWriter.close


@contextlib.contextmanager
def interruptible_logs() -> Iterator[None]:
    """Let ``SummaryWriter`` leave out the scalars that it cannot write, inside the block, and say so once.

    Its thread meets the error and hands it to whichever call comes next; a writer that has met one writes no more. So
    another takes its place, with a file of its own, which TensorBoard shows as the same run.
    """
    retry_at: dict[int, float] = {}

    def interrupted(writer: Any, error: OSError) -> None:
        if id(writer) not in retry_at:
            print(f"[trudi_rsl] The log in {writer.log_dir} has a gap from here on: {error}", flush=True)
        retry_at[id(writer)] = time.monotonic() + RETRY_SECONDS
        # the next call makes another
        writer.file_writer = writer.all_writers = None

    def add_scalar(self: Any, *args: Any, **kwargs: Any) -> None:
        if time.monotonic() < retry_at.get(id(self), 0.0):
            return
        try:
            _add_scalar(self, *args, **kwargs)
        except OSError as error:
            interrupted(self, error)

    def close(self: Any) -> None:
        try:
            _close(self)
        except OSError as error:
            interrupted(self, error)

    with mock.patch.object(SummaryWriter, "add_scalar", add_scalar), mock.patch.object(SummaryWriter, "close", close):
        yield
