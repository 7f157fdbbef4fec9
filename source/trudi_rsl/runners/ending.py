# SPDX-License-Identifier: BSD-3-Clause
"""Ending training between two iterations: when a time is over, or when a signal asks for it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch

SIGNALS = (signal.SIGINT, signal.SIGTERM)
DEFAULT_HANDLERS = (signal.default_int_handler, signal.SIG_DFL)
"""Handlers that nobody set for a purpose of his own, nor to have signals ignored."""

NOTHING, TIME_OVER = 0, -1
"""What a process is asked for beside the numbers of signals, which are above 0."""


class TrainingEnds(Exception):  # noqa: N818  no error: the end that was asked for
    """Raised between two iterations, with the reason."""


class Requests:
    """What has been asked for so far."""

    signal_number: int | None = None
    """The first signal, None before it."""

    def obey(self) -> None:
        """End as after the signal, if one came.

        Raises:
            KeyboardInterrupt: After SIGINT.
            SystemExit: After SIGTERM.
        """
        if self.signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal_number is not None:
            raise SystemExit(128 + self.signal_number)


@contextlib.contextmanager
def ending(algorithm: Any, seconds: float | None) -> Iterator[Requests]:
    """End what runs inside between two iterations, with :class:`TrainingEnds`.

    It ends after the iteration during which the seconds have passed or the first SIGINT or SIGTERM came; a second
    signal acts at once, as without this. RSL-RL's loop has no other way out: its first action after the last update
    comes when that has been logged. Of several processes all end after the same iteration, when one is asked to:
    those that went on would wait for it. There a second signal changes nothing, as launcher and cluster each send one.

    Args:
        algorithm: What the runner trains, on its ``device``; its ``act`` and ``update`` are watched.
        seconds: Wall-clock time from here on, above 0; None sets no limit.
    """
    end = None if seconds is None else time.monotonic() + seconds
    act, update, requests = algorithm.act, algorithm.update, Requests()
    over: TrainingEnds | None = None
    rollout_begins = False

    def watched_act(*args: Any, **kwargs: Any) -> Any:
        nonlocal over, rollout_begins
        # a signal may have come while the iteration was logged, saved or evaluated
        if rollout_begins and over is None and requests.signal_number and not torch.distributed.is_initialized():
            over = TrainingEnds(signal.Signals(requests.signal_number).name)
        rollout_begins = False
        if over is not None:
            raise over
        return act(*args, **kwargs)

    def watched_update(*args: Any, **kwargs: Any) -> Any:
        nonlocal over, rollout_begins
        result = update(*args, **kwargs)
        rollout_begins = True
        asked = requests.signal_number or (TIME_OVER if end is not None and time.monotonic() >= end else NOTHING)
        asked = _of_all_processes(asked, algorithm)
        if asked == TIME_OVER:
            over = TrainingEnds(f"{seconds:g} s are over")
        elif asked != NOTHING:
            requests.signal_number = asked
            over = TrainingEnds(signal.Signals(asked).name)
        return result

    algorithm.act, algorithm.update = watched_act, watched_update
    try:
        with _first_signals(requests):
            yield requests
    finally:
        algorithm.act, algorithm.update = act, update


def _of_all_processes(asked: int, algorithm: Any) -> int:
    """Return what any process is asked for; the time's end counts where no process has a signal."""
    if not torch.distributed.is_initialized():
        return asked
    every = torch.tensor([max(asked, NOTHING), int(asked == TIME_OVER)], device=algorithm.device)
    torch.distributed.all_reduce(every, torch.distributed.ReduceOp.MAX)
    number, time_over = every.tolist()
    return number or (TIME_OVER if time_over else NOTHING)


@contextlib.contextmanager
def _first_signals(requests: Requests) -> Iterator[None]:
    """Note the first signal inside the block; only the main thread can, and only where nobody else handles signals."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = {number: handler for number, handler in handlers.items() if handler in DEFAULT_HANDLERS}
    alone = not torch.distributed.is_initialized()

    def restore() -> None:
        for number, handler in ours.items():
            signal.signal(number, handler)

    def note(number: int, _frame: object) -> None:
        if requests.signal_number is not None:
            return
        requests.signal_number = number
        advice = ""
        if alone:
            restore()
            advice = "; once more ends it at once"
        name = signal.Signals(number).name
        print(f"\n[trudi_rsl] {name}: training ends with a checkpoint after this iteration{advice}.", flush=True)

    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        restore()
