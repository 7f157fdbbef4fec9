# SPDX-License-Identifier: BSD-3-Clause
"""Which checkpoints of a run stay, and which of them are the newest and the best."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from trudi_rsl.files import point

LATEST, BEST = "latest.pt", "best.pt"
"""Links to the newest checkpoint of a run folder and to the one that is rated highest."""


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

    def add(self, path: Path) -> None:
        """Take in a checkpoint that has just been written: move the link to the newest, and remove what is not to stay.

        Args:
            path: The checkpoint.
        """
        if path in self._written:
            self._written.remove(path)
        self._written.append(path)
        point(path.with_name(LATEST), path)
        self._remove_old()

    def rate(self, path: Path, mean_return: float | None) -> bool:
        """Let the link to the best name a checkpoint if it is that, and remove the best so far if that is too old.

        Args:
            path: The checkpoint, after :meth:`add`.
            mean_return: Its mean return; None where there is none yet.

        Returns:
            Whether it is the best.
        """
        if mean_return is None or not math.isfinite(mean_return):
            return False
        if self._best is not None and mean_return <= self._best[0]:
            return False
        self._best = mean_return, path
        point(path.with_name(BEST), path)
        self._remove_old()
        return True

    def _remove_old(self) -> None:
        for old in self._written[: -self._most] if self._most is not None else []:
            if self._best is None or old != self._best[1]:
                with contextlib.suppress(OSError):
                    old.unlink(missing_ok=True)
                self._written.remove(old)
