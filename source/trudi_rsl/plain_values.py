# SPDX-License-Identifier: BSD-3-Clause
"""Bounds on what the values in somebody else's file may grow to once they are read."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

MOST_LEVELS = 32
"""Containers in containers."""

CONTAINERS = (Mapping, list, tuple, set, frozenset, deque)


def require_bounded(content: object, most: int) -> None:
    """Refuse values that are nested too deeply, hold themselves, or are more than ``most``.

    Parts that appear several times count each time: a few lines of references can stand for more than memory holds, and
    whatever copies or prints the values would write them all out.

    Args:
        content: Plain values.
        most: Largest number of values, containers among them.

    Raises:
        ValueError: Saying which bound.
    """
    level, counted = [content], 1
    for _ in range(MOST_LEVELS):
        level = [value for value in level if isinstance(value, CONTAINERS)]
        counted += sum((2 if isinstance(value, Mapping) else 1) * len(value) for value in level)
        if counted > most:
            raise ValueError(f"it stands for more than {most} values")
        level = [part for value in level for part in _parts(value)]
        if not level:
            return
    raise ValueError(f"its values are nested more than {MOST_LEVELS} levels deep")


def distinct_values(content: object) -> Iterator[Any]:
    """Yield every value and every key, those that appear several times once."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, CONTAINERS):
            waiting.extend(_parts(value))


def is_count(value: object, lowest: int = 1) -> bool:
    """Return whether a value is an integer of at least ``lowest`` that other numbers can be reckoned with."""
    return type(value) is int and lowest <= value < 2**53


def is_finite(value: object) -> TypeGuard[float]:
    """Return whether a value is a number other than NaN and infinity."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.keys()
        yield from value.values()
    else:
        yield from value
