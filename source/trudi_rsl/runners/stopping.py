# SPDX-License-Identifier: BSD-3-Clause
"""Ending training after an iteration: on a time limit, or on SIGINT or SIGTERM."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator

import torch
from rsl_rl.runners import OnPolicyRunner

from trudi_rsl.distributed import all_gather
from trudi_rsl.runners.hooks import Hook

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)
DEFAULT_HANDLERS = (signal.default_int_handler, signal.SIG_DFL)
"""Handlers of Python and of the system. Any other was set on purpose and stays, as does ``SIG_IGN``."""


class StopConditions(Hook):
    """Decides after each iteration whether training ends, and remembers the first signal.

    A second signal acts at once. In distributed training all ranks stop after the same iteration as soon as one has
    a reason to, or the others would deadlock at the next all-reduce; a second signal changes nothing there, since
    launcher and cluster both send one.

    Args:
        max_seconds: Wall-clock time after which an iteration is the last, above 0; None sets no limit.
    """

    def __init__(self, max_seconds: float | None) -> None:
        self._max_seconds = max_seconds
        self._deadline: float | None = None
        self._reason: str | None = None
        self._compiles = False
        """Whether the iteration under way compiles functions."""
        self.signal_number: int | None = None
        """The first signal, None before it."""

    def on_start(self, runner: OnPolicyRunner) -> None:
        """Forget earlier requests and start the clock."""
        self.signal_number = self._reason = None
        learner = getattr(runner.alg, "learner", None)
        self._compiles = learner is not None and learner.accelerator.compiles
        self._deadline = None if self._max_seconds is None else time.monotonic() + self._max_seconds

    def after_update(self, runner: OnPolicyRunner, metrics: dict[str, float]) -> None:
        """Decide, together with all ranks, whether this iteration is the last."""
        self._compiles = False
        out_of_time = self._deadline is not None and time.monotonic() >= self._deadline
        number = self.signal_number or 0
        if torch.distributed.is_initialized():
            requests = all_gather(torch.tensor([number, int(out_of_time)], device=runner.device))
            number, out_of_time = requests.amax(0).tolist()
        if number:
            self.signal_number = number
            self._reason = signal.Signals(number).name
        elif out_of_time:
            self._reason = f"max_seconds = {self._max_seconds:g} have passed"

    def stop_reason(self) -> str | None:
        """Return why no further iteration should be trained, None if there is no reason.

        In a single process this includes a signal that arrived since the update, while the iteration was logged, saved
        or evaluated; ranks have not agreed on that yet.
        """
        if self._reason is None and self.signal_number is not None and not torch.distributed.is_initialized():
            self._reason = signal.Signals(self.signal_number).name
        return self._reason

    def raise_signal(self) -> None:
        """Raise what the signal would have: KeyboardInterrupt for SIGINT, SystemExit with status 143 for SIGTERM."""
        if self.signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal_number is not None:
            raise SystemExit(128 + self.signal_number)

    @contextlib.contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Note the first signal inside the block; does nothing outside of the main thread, where Python cannot."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with contextlib.ExitStack() as previous_handlers:

            def note(number: int, _frame: object) -> None:
                if self.signal_number is not None:
                    return
                self.signal_number = number
                advice = ""
                if not torch.distributed.is_initialized():
                    previous_handlers.close()
                    advice = "; a second one ends it at once"
                what = "this first iteration, which compiles for up to a minute" if self._compiles else "this iteration"
                name = signal.Signals(number).name
                logger.info("%s: training ends with a checkpoint after %s%s.", name, what, advice)

            for number in SIGNALS:
                if signal.getsignal(number) in DEFAULT_HANDLERS:
                    previous_handlers.callback(signal.signal, number, signal.signal(number, note))
            yield
