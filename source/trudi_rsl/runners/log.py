# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's log: what goes into it, event files that survive a full disk, sums that continue in a resumed run."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard import SummaryWriter

from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.metric_names import LOSS, tag_of

logger = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""Pause after an error before a new event file is tried; each attempt creates a file."""

EPISODE_SUMS = ("cur_reward_sum", "cur_episode_length", "cur_ereward_sum", "cur_ireward_sum")
"""Attributes of RSL-RL's logger: sums ``[E]`` over the unfinished episodes; extrinsic and intrinsic with RND."""

LOG_SUMS = ("rewbuffer", "lenbuffer", "erewbuffer", "irewbuffer", "tot_timesteps", "tot_time")
"""Attributes of RSL-RL's logger: finished episodes, environment steps and seconds."""


class InterruptibleEventWriter:
    """TensorBoard's event writer with a gap in the log, instead of an error, while the disk is full.

    The thread of an ``EventFileWriter`` ends with its first error, which a later call raises. So a writer from
    ``create`` takes its place, with a new file that TensorBoard shows as the same run.
    """

    def __init__(self, writer: EventFileWriter, create: Callable[[], EventFileWriter]) -> None:
        self._folder = writer.get_logdir()
        self._writer: EventFileWriter | None = writer
        self._create = create
        self._retry_at: float | None = None

    def get_logdir(self) -> str:
        """Return the folder of the event files."""
        return self._folder

    def add_event(self, event: Any) -> None:
        """Add an event, or discard it."""
        if self._retry_at is not None and time.monotonic() < self._retry_at:
            return
        with self._interruptible():
            self._writer = self._writer or self._create()
            self._writer.add_event(event)

    def flush(self) -> None:
        """Write queued events, or discard them."""
        with self._interruptible():
            if self._writer is not None:
                self._writer.flush()

    def close(self) -> None:
        """Write queued events, or discard them, and close the file."""
        with self._interruptible():
            if self._writer is not None:
                self._writer.close()

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._retry_at is None:
                logger.warning("The log in %s has a gap from here on: %s", self._folder, error)
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._writer = None


def make_interruptible(writer: SummaryWriter) -> None:
    """Let a ``SummaryWriter``, or a W&B or Neptune writer derived from it, survive a full disk until it is closed."""
    file_writer: Any = writer._get_file_writer()  # reopens a writer that an earlier training closed

    def create() -> EventFileWriter:
        return EventFileWriter(str(writer.log_dir), writer.max_queue, writer.flush_secs, writer.filename_suffix)

    file_writer.event_writer = InterruptibleEventWriter(file_writer.event_writer, create)


class _Hidden(io.StringIO):
    """A standard output that hides what libraries print, but not this package's messages."""

    def __init__(self, hidden: Any) -> None:
        super().__init__()
        self.for_messages = getattr(hidden, "for_messages", hidden)


def start_writer(log: Any, name: object) -> None:
    """Make the writer of RSL-RL's logger.

    Args:
        log: The logger.
        name: The setting ``logger``, in messages.

    Raises:
        ConfigError: If a log service refuses it, as without a login.
        OSError: If the run folder cannot be written.
    """
    if not hasattr(log, "init_logging_writer"):  # in RSL-RL 3.2 and 3.3 the constructor did it
        return
    is_local = name == "tensorboard"
    try:
        with without_prints() if is_local else contextlib.nullcontext():  # the others print their addresses
            log.init_logging_writer()
    except OSError as error:
        if getattr(log, "writer", None) is None:
            raise
        logger.warning("The state of the code could not be stored; training continues: %s", error)
    except Exception as error:
        if is_local:
            raise
        raise ConfigError(
            f"The log writer {name!r} did not start ({type(error).__name__}: {one_line(error)}). `trudi docs log` says "
            "what each needs; --logger tensorboard needs nothing."
        ) from error


def without_prints() -> contextlib.AbstractContextManager[Any]:
    """Hide what RSL-RL prints in the block; messages of this package are shown."""
    return contextlib.redirect_stdout(_Hidden(sys.stdout))


def log_scalars(
    log: Any, writer: Any, iteration: tuple[Any, ...], metrics: Mapping[str, float], rest: Mapping[str, Any]
) -> None:
    """Write an iteration to the event files: losses by RSL-RL's logger, other metrics under headings of their own.

    Args:
        log: RSL-RL's logger, whose sums it also updates; the 40 lines that it prints are dropped.
        writer: Its writer.
        iteration: The first arguments of its ``log``: number, first, total, and seconds of collecting and learning.
        metrics: The algorithm's scalars by name.
        rest: Its further arguments.
    """
    losses = {name: value for name, value in metrics.items() if tag_of(name).startswith(f"{LOSS}/")}
    with without_prints():
        log.log(*iteration, losses, **rest)
    for name, value in metrics.items():
        if name not in losses:
            writer.add_scalar(tag_of(name), value, iteration[0])


def log_state(log: Any) -> dict[str, Any]:
    """Return the sums of RSL-RL's logger as tensors and plain values."""
    sums = {name: getattr(log, name) for name in (*EPISODE_SUMS, *LOG_SUMS) if hasattr(log, name)}
    return {name: list(value) if isinstance(value, deque) else value for name, value in sums.items()}


def load_log_state(log: Any, checkpoint: Mapping[str, Any], device: str) -> None:
    """Restore a checkpoint's :func:`log_state`; sums of unfinished episodes only if the simulator continues them."""
    sums = (checkpoint.get("infos") or {}).get("logger", {})
    continues = (checkpoint.get("env_state") or {}).get("exact", False)
    for name in (*EPISODE_SUMS, *LOG_SUMS) if continues else LOG_SUMS:
        value = sums.get(name) if hasattr(log, name) else None
        if isinstance(value, torch.Tensor):
            value = value.to(device)
            if value.shape != getattr(log, name).shape:
                continue
        if isinstance(value, list) and isinstance(own := getattr(log, name), deque):
            value = deque(map(float, value), own.maxlen)
        if isinstance(value, (torch.Tensor, deque, int, float)):
            setattr(log, name, value)
