# SPDX-License-Identifier: BSD-3-Clause
"""Training for a number of seconds, whatever number of iterations that is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any


class TimeIsUp(Exception):  # noqa: N818  no error: the end that was asked for
    """Raised between two iterations when the seconds are over."""


@contextlib.contextmanager
def time_limit(algorithm: Any, seconds: float | None) -> Iterator[None]:
    """End what runs inside after the iteration during which the seconds have passed, with :class:`TimeIsUp`.

    RSL-RL's loop has no other way out; its first action after the last update comes when that has been logged.

    Args:
        algorithm: What the runner trains; its ``act`` and ``update`` are watched.
        seconds: Wall-clock time from here on, above 0; None sets no limit.
    """
    if seconds is None:
        yield
        return
    end = time.monotonic() + seconds
    act, update, over = algorithm.act, algorithm.update, False

    def watched_act(*args: Any, **kwargs: Any) -> Any:
        if over:
            raise TimeIsUp
        return act(*args, **kwargs)

    def watched_update(*args: Any, **kwargs: Any) -> Any:
        nonlocal over
        result = update(*args, **kwargs)
        over = time.monotonic() >= end
        return result

    algorithm.act, algorithm.update = watched_act, watched_update
    try:
        yield
    finally:
        algorithm.act, algorithm.update = act, update
