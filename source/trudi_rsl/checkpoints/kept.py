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
        self._ratings: dict[Path, float] = {}
        self._best: Path | None = None

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
        """Let the link to the best name the one rated highest, and remove the best so far if that is too old.

        A file that is written anew, as when a training goes on in the same folder, is rated anew.

        Args:
            path: The checkpoint, after :meth:`add`.
            mean_return: Its mean return; None where there is none yet.

        Returns:
            Whether it is the best.
        """
        self._ratings.pop(path, None)
        if mean_return is not None and math.isfinite(mean_return):
            self._ratings[path] = mean_return
        best = max(self._ratings, key=lambda rated: self._ratings[rated], default=self._best)
        if best is not None and best != self._best:
            self._best = best
            point(path.with_name(BEST), best)
            self._remove_old()
        return path in self._ratings and path == best

    def _remove_old(self) -> None:
        for old in self._written[: -self._most] if self._most is not None else []:
            if old != self._best:
                with contextlib.suppress(OSError):
                    old.unlink(missing_ok=True)
                self._written.remove(old)
                self._ratings.pop(old, None)
