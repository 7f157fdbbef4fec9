# SPDX-License-Identifier: BSD-3-Clause
"""Reading the parts of values: attributes, methods, elements and entries."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod

from trudi_rsl.hosts.reading.values import (
    UNKNOWN,
    Class,
    Constant,
    Container,
    Dictionary,
    External,
    Function,
    Instance,
    ModuleValue,
    Scope,
    Sequence,
    Slot,
    Super,
    Value,
    Values,
    forget,
)


class Parts(ABC):
    """What a reader knows of the parts of values."""

    @abstractmethod
    def evaluate(self, node: ast.expr, scope: Scope) -> Values:
        """Return all values that an expression may have."""

    @abstractmethod
    def call_function(self, function: Function, args: list[Values], keywords: dict[str, Slot]) -> Values:
        """Return what a function may return, after running its body."""

    @abstractmethod
    def named(self, module: str, name: str) -> Values:
        """Return what a name of a module is bound to, or the module's submodule of that name."""

    @abstractmethod
    def by_annotation(self, cls: Class, name: str) -> Values:
        """Return instances of the types in a field's annotation, the same ones for all instances of a class."""

    def part(self, value: Value, name: str) -> Values:
        """Return the values of an attribute, or of an entry of a dictionary."""
        match value:
            case Instance():
                return self._of_instance(value, name)
            case Dictionary():
                slot = value.slots.get(name)
                return ([] if slot is None else slot.read()) + (
                    [] if slot is not None and value.complete else [UNKNOWN]
                )
            case Class():
                found = [item for base in value.bases if name in base.slots for item in base.slots[name].read()]
                return found or self.methods(value, name, [value]) or [UNKNOWN]
            case ModuleValue():
                if name == "__name__":
                    return [Constant(value.module.name)]
                return self.named(value.module.name, name)
            case Super():
                later = [base for base in classes_of(value.receiver) if base is not value.owner]
                return [item for base in later for item in self.methods(base, name, value.receiver)][:1] or [UNKNOWN]
            case External():
                return [External(f"{value.name}.{name}")]
        return [UNKNOWN]

    def _of_instance(self, value: Instance, name: str) -> Values:
        holders = [value, *value.cls.bases]
        found = [item for holder in holders if name in holder.slots for item in holder.slots[name].read()]
        if all(isinstance(item, Constant) for item in found):
            found += [item for base in value.cls.bases for item in self.by_annotation(base, name)]
        if not found and name not in value.names():
            found = self.methods(value.cls, name, [value])
            if not found:
                forget([value])
        if not found or not value.complete:
            found.append(UNKNOWN)
        return found

    def methods(self, cls: Class, name: str, receiver: Values) -> Values:
        """Return a method of a class, bound to its receiver, or the values of a property; nothing if there is none."""
        for base in cls.bases:
            if (node := base.methods.get(name)) is not None:
                kinds = {name_of(item) for item in node.decorator_list}
                if kinds - {"property", "staticmethod", "classmethod"}:
                    return [UNKNOWN]
                bound: Values = [base] if "classmethod" in kinds else receiver
                if "staticmethod" in kinds or (isinstance(receiver[0], Class) and not kinds):
                    bound = []
                function = Function(node, base.scope, bound, base)
                return self.call_function(function, [], {}) if "property" in kinds else [function]
        return []

    def elements(self, values: Values) -> Values:
        """Return what a loop over one of the values may see."""
        found: Values = []
        for value in values:
            if isinstance(value, Sequence):
                found += value.slot("").read()
                found += [] if value.complete else [UNKNOWN]
            elif isinstance(value, Dictionary) and value.complete:
                found += map(Constant, value.slots)
            elif not isinstance(value, Constant):
                forget([value])
                found.append(UNKNOWN)
            else:
                found.append(Constant())
        return found

    def keys(self, index: ast.expr, scope: Scope) -> list[str] | None:
        """Return the text that an index may be; None if that is not known."""
        values = self.evaluate(index, scope)
        known = [str(value.value) for value in values if isinstance(value, Constant) and value.value is not ...]
        return known if known and len(known) == len(values) else None

    def items(self, container: Values, index: ast.expr, scope: Scope) -> Values:
        """Return the values of ``container[index]``."""
        keys, found = self.keys(index, scope), []
        for value in container:
            if isinstance(value, Dictionary):
                read = value.slots if keys is None else keys
                found += [item for key in read for item in self.part(value, key)]
                found += [] if keys is not None and value.complete else [UNKNOWN]
            elif isinstance(value, Sequence):
                found += self.elements([value])
            else:
                found.append(UNKNOWN)
        return found

    def merge(self, into: Container, values: Values) -> None:
        """Add the entries of dictionaries to another one."""
        for value in values:
            if isinstance(value, Dictionary):
                into.complete &= value.complete
                for name, slot in value.slots.items():
                    into.slot(name).add(slot.read)
            elif not isinstance(value, Constant):
                into.complete = False


def classes_of(values: Values) -> list[Class]:
    """Return the classes of instances, and those that they inherit from, and of classes themselves."""
    found = [value.cls if isinstance(value, Instance) else value for value in values]
    return [base for cls in found if isinstance(cls, Class) for base in cls.bases]


def name_of(node: ast.expr) -> str:
    """Return the last part of a name, of a called one or one with an index, too."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
