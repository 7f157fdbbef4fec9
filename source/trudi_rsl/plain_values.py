# SPDX-License-Identifier: BSD-3-Clause
"""Plain values: checks of those from somebody else's file, and a copy of settings that holds nothing else."""

from __future__ import annotations

import math
import numbers
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, TypeGuard

MOST_LEVELS = 32
"""Largest depth of containers in containers."""

CONTAINERS = (Mapping, list, tuple, set, frozenset, deque)

IMAGE_TYPES = ("uint8", "int8", "int16", "int32", "float16", "float32")
"""Names of the types, torch's and NumPy's, that images in a checkpoint or an export may have."""


def require_bounded(content: object, most: int) -> None:
    """Refuse values that are nested too deeply, contain themselves, or are more than ``most``.

    Containers count, and shared parts count each time they appear: a few lines of references can stand for more values
    than memory holds, and copying or printing would expand them.

    Raises:
        ValueError: Naming the bound.
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
    """Yield every value and every key, shared ones once."""
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


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.keys()
        yield from value.values()
    else:
        yield from value


def is_count(value: object, lowest: int = 1) -> bool:
    """Return whether a value is an integer from ``lowest`` up to what a float represents exactly."""
    return type(value) is int and lowest <= value < 2**53


def is_finite(value: object) -> TypeGuard[float]:
    """Return whether a value is a number other than NaN and infinity."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def yaml_hint(value: object) -> str:
    """Return how to write a number that is text, as all in quotes and some in YAML; empty for any other value."""
    digits = str(value).lower().replace("e", "", 1).replace(".", "", 1).lstrip("+-")
    is_number = isinstance(value, str) and digits.isdigit()
    return " It is text: leave out the quotes, and write 1.0e+4 or 10000.0 for YAML's text 1.0e4." if is_number else ""


def copied(value: Any, as_lists: type | tuple[type, ...] = list) -> Any:
    """Return a copy of settings with mappings and lists of its own, and all other values shared.

    A deep copy would also copy what a function in them is bound to, such as an environment.

    Args:
        value: Settings.
        as_lists: Types of which lists are made.
    """
    if isinstance(value, Mapping):
        return {name: copied(part, as_lists) for name, part in value.items()}
    return [copied(part, as_lists) for part in value] if isinstance(value, as_lists) else value


def with_lists(value: Any) -> Any:
    """Return a copy of settings with lists in place of tuples, as YAML has them; all other values are shared."""
    return copied(value, (list, tuple))


def as_plain(value: object) -> Any:
    """Return a copy of settings that holds only what a checkpoint may: mappings, lists, text, numbers and None.

    Tuples become lists, paths text, and NumPy's numbers Python's; keys whose values are anything else are left out.
    """
    if isinstance(value, Mapping):
        return {str(name): as_plain(part) for name, part in value.items() if not _is_foreign(part)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_plain(part) for part in value if not _is_foreign(part)]
    if isinstance(value, numbers.Number) and not isinstance(value, (bool, int, float)):
        return value.item()  # type: ignore[attr-defined]
    return str(value) if isinstance(value, PurePath) else value


def _is_foreign(value: object) -> bool:
    return not (
        value is None
        or isinstance(value, (str, bool, int, float, Mapping, list, tuple, set, frozenset, PurePath))
        or (isinstance(value, numbers.Number) and hasattr(value, "item"))
    )
