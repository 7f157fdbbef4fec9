# SPDX-License-Identifier: BSD-3-Clause
"""Refuses overrides of settings that a task's configuration is known not to have."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from trudi_rsl.config.overrides import advice
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.reading.reader import Reader
from trudi_rsl.hosts.reading.statements import UnreadableError
from trudi_rsl.hosts.reading.values import Constant, Dictionary, Instance, Value, Values

SETTING = re.compile(r"(env|agent)((?:\.\w+)+)=")


@dataclass
class Reading:
    """What the sections of a task's configuration may be."""

    reader: Reader
    sections: dict[str, Values] = field(default_factory=dict)
    """Values of ``env`` and ``agent``; settings of others are not checked."""
    added: set[str] | None = field(default_factory=set)
    """Names that the section ``agent`` has besides, None if they are not known."""
    shallow: set[str] = field(default_factory=set)
    """Sections of which only the first names are known."""
    elsewhere: Sequence[str] = ()
    """Full names of settings to suggest, besides those of the values."""

    def names(self, values: Values, without: set[str]) -> set[str] | None:
        """Return the names of all parts of values, without some; None if they are not known."""
        known = [names_of(value) for value in values]
        return None if None in known else set().union(*filter(None, known)) - without

    def call_method(self, values: Values, name: str) -> None:
        """Let a method without arguments, if there is one, change the values."""
        for value in values:
            if isinstance(value, Instance):
                for method in self.reader.methods(value.cls, name, [value]):
                    self.reader.call(method)


def check_names(reading: Reading, overrides: Sequence[str]) -> None:
    """Raise a ConfigError for the first override of a setting that does not exist, with the nearest names.

    Args:
        reading: The task's configuration.
        overrides: As the user wrote them. Those with a ``+``, which adds a setting, are not checked.
    """
    for text in overrides:
        if (match := SETTING.match(text)) is None or match[1] not in reading.sections:
            continue
        section, parts = match[1], match[2][1:].split(".")
        values = reading.sections[section]
        if section == "agent" and (reading.added is None or parts[0] in reading.added):
            continue
        found = missing(reading.reader, values, parts[:1] if section in reading.shallow else parts)
        if found is None:
            continue
        depth, known = found
        where, part, rest = ".".join([section, *parts[:depth]]), parts[depth], ".".join(parts[depth:])
        paths = list(reading.elsewhere)
        if section not in reading.shallow:
            with contextlib.suppress(UnreadableError):
                paths += [f"{section}.{path}" for path in _paths(reading.reader, values, 2)]
        name = f"{section}{match[2]}"
        raise ConfigError(f"Unknown setting {name!r}: no {part!r} in {where}. {advice(name, part, rest, known, paths)}")


def missing(reader: Reader, values: Values, parts: Sequence[str]) -> tuple[int, list[str]] | None:
    """Return which part of a path does not exist, and the names that do; None if all may exist.

    Args:
        reader: Has read the values.
        values: What the path begins at.
        parts: Names of the path.
    """
    for depth, part in enumerate(parts):
        holders = [value for value in values if not isinstance(value, Constant)]
        names = [names_of(value) for value in holders]
        if not holders or any(known is None for known in names):
            return None
        if not any(part in (known or ()) for known in names):
            return depth, sorted({name for known in names for name in known or ()})
        values = [item for value in holders if part in (names_of(value) or ()) for item in reader.part(value, part)]
    return None


def names_of(value: Value) -> set[str] | None:
    """Return the names of all parts of a value; None if they are not known."""
    if isinstance(value, Instance) and value.complete:
        return {*value.names()}
    if isinstance(value, Dictionary) and value.complete:
        return {*value.slots}
    return None


def _paths(reader: Reader, values: Values, depth: int) -> Iterator[str]:
    for value in values:
        for name in sorted(names_of(value) or ()):
            yield name
            if depth > 1:
                assert isinstance(value, Instance | Dictionary)
                yield from (f"{name}.{path}" for path in _paths(reader, reader.part(value, name), depth - 1))
