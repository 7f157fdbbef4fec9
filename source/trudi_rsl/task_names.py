# SPDX-License-Identifier: BSD-3-Clause
"""Matching the names of a task: versions, variants for playing, and names changed between Isaac Lab 2.3 and 3.0."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SUFFIXES = re.compile(r"(-Play)?(-v\d+)?$")


def family(task: str) -> str:
    """Return a key that is equal for all names of a task.

    Versions of a task are the same task; whether a policy fits follows from its shapes. Isaac Lab 3.0 dropped ``-v0``
    and ``-Play``, renamed Repose to Reorient, writes robots' names as one word (``AnymalD`` for ``Anymal-D``) and moved
    some tasks from ``Isaac-`` to ``IsaacContrib-``. A leading ``namespace:`` names another package, so it is kept.
    """
    base = _SUFFIXES.sub("", task)
    if not base.startswith(("Isaac-", "IsaacContrib-")):
        return base
    words = base.split("-")[1:]
    return "isaac:" + "".join(words).replace("Repose", "Reorient").lower()


def counterpart(task: str, registered: Iterable[str], play: bool = False) -> str | None:
    """Return the registered name of a task whose name may be that of another version of the simulator.

    Args:
        task: Returned itself if it is registered, else a name of its family, None if there is none.
        registered: All registered names.
        play: Prefer variants for playing, if there are any.
    """
    same = sorted({name for name in registered if family(name) == family(task)})
    for_play = [name for name in same if "-Play" in name]
    preferred = for_play if play and for_play else same
    if task in preferred:
        return task
    for_training = [name for name in preferred if name not in for_play]
    return (for_training or preferred or [None])[-1]
