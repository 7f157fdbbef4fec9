# SPDX-License-Identifier: BSD-3-Clause
"""Matching the names of a task: versions, variants for playing, Isaac Lab 2.3's and 3.0's, those before it moved."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trudi_rsl.errors import ConfigError

_SUFFIXES = re.compile(r"(-Play)?(-v\d+)?$")
_present_names: dict[str, str] = {}


def register_former_name(former: str, task: str) -> None:
    """Let checkpoints that name a task ``former``, as when it was in another module, be those of ``task``."""
    _present_names[former] = task


def register_former_names(texts: Iterable[str], task: str | None = None) -> None:
    """Register former names given as ``OLD=NEW``, or as ``OLD`` for the name ``task``.

    Raises:
        ConfigError: If one has no new name.
    """
    for text in texts:
        former, _, present = text.partition("=")
        if not (present := present or task or ""):
            raise ConfigError(f"--task_was {text} does not say what the task is called now; write {text}=NEW.")
        register_former_name(former, present)


def present_name(task: str) -> str:
    """Return the name that a task has now, the same one unless a former name was registered."""
    return _present_names.get(task, task)


def family(task: str) -> str:
    """Return a key that is equal for all names of a task.

    Versions of a task are the same task; whether a policy fits follows from its shapes. Isaac Lab 3.0 dropped ``-v0``
    and ``-Play``, renamed Repose to Reorient, writes robots' names as one word (``AnymalD`` for ``Anymal-D``) and moved
    some tasks from ``Isaac-`` to ``IsaacContrib-``. A leading ``namespace:`` names another package, so it is kept.
    """
    base = _SUFFIXES.sub("", present_name(task))
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
