# SPDX-License-Identifier: BSD-3-Clause
"""Ending training between two iterations: when a time is over, or when a signal asks for it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
DEFAULT_HANDLERS = (signal.default_int_handler, signal.SIG_DFL)
"""Handlers that nobody set for a purpose of his own, nor to have signals ignored."""


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
    comes when that has been logged.

    Args:
        algorithm: What the runner trains; its ``act`` and ``update`` are watched.
        seconds: Wall-clock time from here on, above 0; None sets no limit.
    """
    end = None if seconds is None else time.monotonic() + seconds
    act, update, requests = algorithm.act, algorithm.update, Requests()
    over: TrainingEnds | None = None

    def watched_act(*args: Any, **kwargs: Any) -> Any:
        if over is not None:
            raise over
        return act(*args, **kwargs)

    def watched_update(*args: Any, **kwargs: Any) -> Any:
        nonlocal over
        result = update(*args, **kwargs)
        if requests.signal_number is not None:
            over = TrainingEnds(signal.Signals(requests.signal_number).name)
        elif end is not None and time.monotonic() >= end:
            over = TrainingEnds(f"{seconds:g} s are over")
        return result

    algorithm.act, algorithm.update = watched_act, watched_update
    try:
        with _first_signals(requests):
            yield requests
    finally:
        algorithm.act, algorithm.update = act, update


@contextlib.contextmanager
def _first_signals(requests: Requests) -> Iterator[None]:
    """Note the first signal inside the block; only the main thread can, and only where nobody else handles signals."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = {number: handler for number, handler in handlers.items() if handler in DEFAULT_HANDLERS}

    def restore() -> None:
        for number, handler in ours.items():
            signal.signal(number, handler)

    def note(number: int, _frame: object) -> None:
        requests.signal_number = number
        restore()
        print(
            f"\n[trudi_rsl] {signal.Signals(number).name}: training ends with a checkpoint after this iteration; once "
            "more ends it at once.",
            flush=True,
        )

    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        restore()
