# SPDX-License-Identifier: BSD-3-Clause
"""Which checkpoints of a run are kept, and the links to the newest and the best."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

from trudi_rsl.files import point_link

LATEST, BEST = "latest.pt", "best.pt"
"""Links in a run folder to the newest checkpoint and to the one with the highest return."""


class KeptCheckpoints:
    """The checkpoints that a run has written, of which it keeps the newest ``most`` (None: all) and the best.

    Other files are never removed.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._written: list[Path] = []
        self._returns: dict[Path, float] = {}
        self._best: Path | None = None

    @property
    def best(self) -> tuple[Path, float] | None:
        """The checkpoint with the highest mean return, and that; None without a rated one."""
        return None if self._best not in self._returns else (self._best, self._returns[self._best])

    def add(self, path: Path) -> None:
        """Point the link to the newest at a checkpoint that was just written, and remove those not to keep."""
        if path in self._written:
            self._written.remove(path)
        self._written.append(path)
        point_link(path.with_name(LATEST), path)
        self._remove_old()

    def rate(self, path: Path, mean_return: float | None) -> bool:
        """Rate a checkpoint that was added, and return whether it is the best, to which a link points.

        A file that is overwritten, as when training continues in the same folder, is rated again.

        Args:
            path: The checkpoint.
            mean_return: Its mean return, None if unknown.
        """
        self._returns.pop(path, None)
        if mean_return is not None and math.isfinite(mean_return):
            self._returns[path] = mean_return
        best = max(self._returns, key=self._returns.__getitem__, default=self._best)
        if best is not None and best != self._best:
            self._best = best
            point_link(path.with_name(BEST), best)
            self._remove_old()
        return path in self._returns and path == best

    def _remove_old(self) -> None:
        for old in self._written[: -self._most] if self._most is not None else []:
            if old != self._best:
                with contextlib.suppress(OSError):
                    old.unlink(missing_ok=True)
                self._written.remove(old)
                self._returns.pop(old, None)
