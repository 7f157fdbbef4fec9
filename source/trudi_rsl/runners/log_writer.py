# SPDX-License-Identifier: BSD-3-Clause
"""Logs that a full disk interrupts and does not end the training with: TensorBoard's, and what is printed."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO, cast
from unittest import mock

from torch.utils.tensorboard import SummaryWriter

RETRY_SECONDS = 60.0
"""Time after which writing is tried again; every try makes a file."""

_add_scalar, _close = SummaryWriter.add_scalar, SummaryWriter.close


@contextlib.contextmanager
def interruptible_logs() -> Iterator[None]:
    """Leave out what cannot be logged, inside the block, and say so once.

    What is printed may go to a file of that disk as well, and RSL-RL prints in every iteration.

    A ``SummaryWriter``'s thread meets the error and hands it to whichever call comes next, and the writer writes no
    more. So another takes its place, with a file of its own, which TensorBoard shows as the same run.
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

    with (
        mock.patch.object(SummaryWriter, "add_scalar", add_scalar),
        mock.patch.object(SummaryWriter, "close", close),
        contextlib.redirect_stdout(cast(TextIO, _Forgiving(sys.stdout))),
    ):
        yield


@contextlib.contextmanager
def left_open(logger: Any) -> Iterator[None]:
    """Let RSL-RL's loop not stop its log inside the block: a last checkpoint that is tried again belongs there too.

    Args:
        logger: Of a runner; that of RSL-RL 3 is not stopped anyway.
    """
    if not hasattr(logger, "stop_logging_writer"):
        yield
        return
    with mock.patch.object(logger, "stop_logging_writer", lambda: None):
        yield


class _Forgiving:
    """An output stream that loses what it cannot write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, or lose it."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or leave it there."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
