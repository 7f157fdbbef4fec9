# SPDX-License-Identifier: BSD-3-Clause
"""What the expressions of a task's configuration may evaluate to."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trudi_rsl.hosts.reading.modules import Module

Values = list["Value"]
"""All that an expression may evaluate to; nothing if that was never set."""


@dataclass(eq=False)
class Value:
    """A value of which nothing is known; it may have parts of any name."""


UNKNOWN = Value()


@dataclass(eq=False)
class Constant(Value):
    """A number, text or None, of which ``value`` is known unless it is ``...``."""

    value: Any = ...


@dataclass(eq=False)
class External(Value):
    """Something of a package that is not read, by its full name."""

    name: str


@dataclass(eq=False)
class ModuleValue(Value):
    """A module."""

    module: Module


class Slot:
    """What a name is ever set to, evaluated when it is read first."""

    def __init__(self) -> None:
        self._pending: list[Callable[[], Values]] = []
        self._values: Values = []
        self._is_read = False

    def add(self, values: Callable[[], Values] | Iterable[Value]) -> None:
        """Add values, or a function that returns them."""
        if callable(values):
            self._pending.append(values)
        else:
            self._values += [value for value in values if value not in self._values]

    def read(self) -> Values:
        """Return all values; with an unknown one if that is asked while they are evaluated."""
        if self._is_read:
            self.add([UNKNOWN])  # what is done to it now would be lost
            return list(self._values)
        self._is_read = True
        while self._pending:
            self.add(self._pending.pop()())
        self._is_read = False
        return list(self._values)


@dataclass(eq=False)
class Container(Value):
    """A value with named parts; ``complete`` if it has no others than those of ``slots``."""

    slots: dict[str, Slot] = field(default_factory=dict)
    complete: bool = True

    def slot(self, name: str) -> Slot:
        """Return the slot of a part, which is made if there is none."""
        return self.slots.setdefault(name, Slot())


@dataclass(eq=False)
class Dictionary(Container):
    """A dictionary with text as keys."""


@dataclass(eq=False)
class Sequence(Container):
    """A list, tuple or set; its elements share the slot of the empty name."""


@dataclass(eq=False)
class Class(Container):
    """A class of a configuration, whose slots are its attributes."""

    node: ast.ClassDef = field(kw_only=True)
    scope: Scope = field(kw_only=True)
    bases: list[Class] = field(default_factory=list)
    """The classes that it inherits from, in their order, itself first."""
    fields: dict[str, ast.expr | None] = field(default_factory=dict)
    """Names of its own fields to their annotations; without the names of methods."""
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)
    by_annotation: dict[str, Values] = field(default_factory=dict)
    """Instances for fields that are never set."""


@dataclass(eq=False)
class Instance(Container):
    """An instance of a class."""

    cls: Class = field(kw_only=True)

    def names(self) -> Iterator[str]:
        """Yield the names of its fields, some twice."""
        yield from self.slots
        for base in self.cls.bases:
            yield from base.slots
            yield from base.fields


@dataclass(eq=False)
class Function(Value):
    """A function; a method with the values of its first parameter, and the class that defines it."""

    node: ast.FunctionDef | ast.Lambda
    scope: Scope
    receiver: Values = field(default_factory=list)
    owner: Class | None = None


@dataclass(eq=False)
class Super(Value):
    """``super()`` in a method of ``owner``."""

    receiver: Values
    owner: Class


@dataclass(eq=False)
class Scope:
    """Local names of a function or class, or of the module if there are none."""

    module: Module
    slots: dict[str, Slot] = field(default_factory=dict)
    outer: Scope | None = None
    returned: Values = field(default_factory=list)
    function: Function | None = None
    is_class: bool = False


def forget(values: Iterable[Value]) -> None:
    """Let containers, and all inside of them, have unknown parts: something that is not read may change them."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, Container) and value.complete and not isinstance(value, Class):
            value.complete = False
            slots = list(value.slots.values())
            for slot in slots:
                waiting += slot.read()
        elif isinstance(value, Function):
            waiting += value.receiver
