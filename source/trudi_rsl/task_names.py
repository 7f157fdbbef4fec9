# SPDX-License-Identifier: BSD-3-Clause
"""One task under its several names: versions, variants for playing, and Isaac Lab's renaming between 2.3 and 3.0."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SUFFIXES = re.compile(r"(-Play)?(-v\d+)?$")


def family(task: str) -> str:
    """Return what all names of a task have in common; two names with the same family are the same task.

    Versions of a task count as the same: whether a policy fits is told by its shapes. Isaac Lab 3.0 dropped ``-v0`` and
    ``-Play``, renamed Repose to Reorient, wrote robots' names as one word (``Anymal-D`` as ``AnymalD``) and moved some
    tasks from ``Isaac-`` to ``IsaacContrib-``.

    Args:
        task: Task name; a leading ``namespace:`` counts, since it names another package.
    """
    base = _SUFFIXES.sub("", task)
    if not base.startswith(("Isaac-", "IsaacContrib-")):
        return base
    words = base.split("-")[1:]
    return "isaac:" + "".join(words).replace("Repose", "Reorient").lower()


def counterpart(task: str, registered: Iterable[str], play: bool = False) -> str | None:
    """Return the registered name of a task that may be written as another version of the simulator calls it.

    Args:
        task: What the user wrote.
        registered: The names there are.
        play: Prefer the variant for playing, where there is one.

    Returns:
        ``task`` itself if it is registered and no other variant is preferred, else a name of the same family, else
        None.
    """
    names = set(registered)
    same = sorted(name for name in names if family(name) == family(task))
    for_play = [name for name in same if "-Play" in name]
    if play and for_play:
        return task if task in for_play else for_play[-1]
    if task in names:
        return task
    for_training = [name for name in same if "-Play" not in name]
    return (for_training or for_play or [None])[-1]
