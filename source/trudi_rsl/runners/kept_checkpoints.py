# SPDX-License-Identifier: BSD-3-Clause
"""Which checkpoints of a run stay, and which of them are the newest and the best."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from trudi_rsl.files import point

LATEST, BEST = "latest.pt", "best.pt"
"""Links to the newest checkpoint of a run folder and to the one with the highest training return."""


class KeptCheckpoints:
    """The checkpoints that a run has written.

    Args:
        most: How many of the newest stay beside the best, at least 1; None keeps all. Files that somebody else wrote
            are never removed.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._written: list[Path] = []
        self._best: tuple[float, Path] | None = None

    def add(self, path: Path, mean_return: float | None) -> None:
        """Take in a checkpoint that has just been written: move the links, and remove what is not to stay.

        Args:
            path: The checkpoint.
            mean_return: Mean return of the last training episodes; None before one has ended.
        """
        if path in self._written:
            self._written.remove(path)
        self._written.append(path)
        point(path.with_name(LATEST), path)
        if (
            mean_return is not None
            and math.isfinite(mean_return)
            and (self._best is None or mean_return > self._best[0])
        ):
            self._best = mean_return, path
            point(path.with_name(BEST), path)
        for old in self._written[: -self._most] if self._most is not None else []:
            if self._best is None or old != self._best[1]:
                with contextlib.suppress(OSError):
                    old.unlink(missing_ok=True)
                self._written.remove(old)
