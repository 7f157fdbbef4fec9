# SPDX-License-Identifier: BSD-3-Clause
"""Calling what is read, and the functions of Python that configurations use; any other may change its arguments."""

from __future__ import annotations

import ast
from abc import abstractmethod

from trudi_rsl.hosts.reading.statements import Statements
from trudi_rsl.hosts.reading.values import (
    UNKNOWN,
    Class,
    Constant,
    Dictionary,
    External,
    Function,
    Instance,
    Scope,
    Sequence,
    Slot,
    Super,
    Value,
    Values,
    forget,
)

PURE = {
    *("isinstance", "hasattr", "len", "int", "float", "str", "bool", "range", "min", "max", "abs", "round", "sum"),
    *("any", "all", "print", "repr", "issubclass", "callable", "slice", "id"),
}
"""Builtins that change none of their arguments and return plain values."""
COPIES = ("copy", "deepcopy", "replace")
_COLLECTIONS = ("list", "tuple", "set", "frozenset", "sorted", "reversed", "enumerate", "zip")


class Calls(Statements):
    """Evaluates calls."""

    @abstractmethod
    def instantiate(self, cls: Class, args: list[Values], keywords: dict[str, Slot]) -> Instance:
        """Return a new instance, whose constructor has been called with positional and keyword arguments."""

    def call_expression(self, node: ast.Call, scope: Scope) -> Values:
        """Return what a call may return."""
        args = [self.evaluate(arg.value if isinstance(arg, ast.Starred) else arg, scope) for arg in node.args]
        keywords: dict[str, Slot] = {}
        expanded = any(isinstance(arg, ast.Starred) for arg in node.args)
        for keyword in node.keywords:
            if keyword.arg is not None:
                keywords.setdefault(keyword.arg, Slot()).add(self.deferred(keyword.value, scope))
                continue
            for value in self.evaluate(keyword.value, scope):
                if isinstance(value, Dictionary) and value.complete:
                    for name, slot in value.slots.items():
                        keywords.setdefault(name, Slot()).add(slot.read)
                else:
                    expanded = True
        if expanded:
            everything = [*args, *(slot.read() for slot in keywords.values())]
            forget(value for values in everything for value in values)
        found: Values = []
        if isinstance(node.func, ast.Attribute):
            for receiver in self.evaluate(node.func.value, scope):
                found += self._call_method(receiver, node.func.attr, args, keywords, expanded)
            return found
        for function in self.evaluate(node.func, scope):
            if isinstance(function, External) and function.name == "builtins.super":
                found.append(self._super(scope))
            else:
                found += self._call_value(function, args, keywords, expanded)
        return found

    def _super(self, scope: Scope) -> Value:
        inner: Scope | None = scope
        while inner is not None and (inner.function is None or inner.function.owner is None):
            inner = inner.outer
        if inner is None or inner.function is None or inner.function.owner is None:
            return UNKNOWN
        return Super(inner.function.receiver, inner.function.owner)

    def _call_method(
        self, receiver: Value, name: str, args: list[Values], keywords: dict[str, Slot], expanded: bool
    ) -> Values:
        match receiver:
            case Super() if name == "__post_init__":
                return [Constant()]  # those of all classes are called
            case Instance() if name in COPIES and not self.methods(receiver.cls, name, [receiver]):
                return self._copy([receiver], keywords, expanded)
            case Instance() if name in ("to_dict", "validate") and name not in receiver.names():
                return [UNKNOWN]
            case Dictionary():
                return self._of_dictionary(receiver, name, args, keywords)
            case Sequence():
                if name in ("append", "insert", "extend", "add"):
                    for values in args:
                        receiver.slot("").add(self.elements(values) if name == "extend" else values)
                return [receiver] if name in COPIES else self.elements([receiver])
            case Constant():
                forget(value for values in args for value in values)
                return [Constant()]
        return [
            item
            for function in self.part(receiver, name)
            for item in self._call_value(function, args, keywords, expanded, receiver)
        ]

    def _of_dictionary(self, receiver: Dictionary, name: str, args: list[Values], keywords: dict[str, Slot]) -> Values:
        values = [item for slot in list(receiver.slots.values()) for item in slot.read()]
        values += [] if receiver.complete else [UNKNOWN]
        match name:
            case "copy":
                return [receiver]
            case "keys":
                return [receiver]
            case "values" | "items":
                made = Sequence()
                made.slot("").add(values + [Constant(key) for key in receiver.slots if name == "items"])
                if name == "items":
                    pairs = Sequence()
                    pairs.slot("").add([made])
                    return [pairs]
                return [made]
            case "get" | "pop" | "setdefault":
                default = args[1] if len(args) > 1 else [Constant(None)]
                known = [value.value for value in args[0] if isinstance(value, Constant)] if args else [...]
                if name == "setdefault":
                    for key in known:
                        if isinstance(key, str):
                            receiver.slot(key).add(default)
                        else:
                            receiver.complete = False
                if ... not in known and len(known) == len(args[0]):
                    slots = [receiver.slots[str(key)] for key in known if str(key) in receiver.slots]
                    values = [item for slot in slots for item in slot.read()]
                    values += [] if receiver.complete else [UNKNOWN]
                return values + default
            case "update":
                self.merge(receiver, [value for values in args for value in values])
                for key, slot in keywords.items():
                    receiver.slot(key).add(slot.read)
            case "clear":
                pass
            case _:
                forget([receiver])
                return [UNKNOWN]
        return [Constant(None)]

    def call(self, function: Value) -> Values:
        """Return what a call without arguments may return."""
        return self._call_value(function, [], {}, False)

    def _call_value(
        self,
        function: Value,
        args: list[Values],
        keywords: dict[str, Slot],
        expanded: bool,
        receiver: Value = UNKNOWN,
    ) -> Values:
        match function:
            case Class():
                made = self.instantiate(function, args, keywords)
                made.complete &= not expanded
                return [made]
            case Function() if not expanded:
                if getattr(function.node, "name", "") in COPIES and self._is_of_host(function):
                    return self._copy(args[0] if args else [UNKNOWN], keywords, expanded)
                return self.call_function(function, args, keywords)
            case External():
                known = self._call_builtin(function.name, args, keywords)
                if known is not None:
                    return known
        forget([receiver, *(value for values in args for value in values)])
        forget(value for slot in keywords.values() for value in slot.read())
        return [UNKNOWN]

    def _is_of_host(self, function: Function) -> bool:
        return function.scope.module.name.startswith(("isaaclab.utils", "mjlab.utils"))

    def _copy(self, values: Values, keywords: dict[str, Slot], expanded: bool) -> Values:
        """Return the original for its copy, with what was replaced; so both have the names of either."""
        for value in values:
            if isinstance(value, Instance):
                for name, slot in keywords.items():
                    value.slot(name).add(slot.read)
                value.complete &= not expanded
        return values

    def _call_builtin(self, full_name: str, args: list[Values], keywords: dict[str, Slot]) -> Values | None:
        """Return the result of a function of Python; None if it is not known."""
        package, _, name = full_name.rpartition(".")
        if package in ("copy", "dataclasses") and name in COPIES:
            return self._copy(args[0] if args else [UNKNOWN], keywords, False)
        if full_name == "dataclasses.field":
            default = keywords["default"].read() if "default" in keywords else []
            factories = keywords["default_factory"].read() if "default_factory" in keywords else []
            return default + [item for factory in factories for item in self._call_value(factory, [], {}, False)]
        if package in ("math", "os.path"):
            return [Constant()]
        if package != "builtins":
            return None
        if name in PURE:
            return [Constant()]
        if name in _COLLECTIONS:
            made = Sequence()
            for values in args:
                made.slot("").add(self.elements(values))
            if name in ("enumerate", "zip"):
                made.slot("").add([Constant()])
                pairs = Sequence()
                pairs.slot("").add([made])
                return [pairs]
            return [made]
        if name == "dict":
            made = Dictionary()
            self.merge(made, [value for values in args for value in values])
            for key, slot in keywords.items():
                made.slot(key).add(slot.read)
            return [made]
        if name in ("setattr", "getattr") and len(args) >= 2:
            names = [value.value for value in args[1] if isinstance(value, Constant)]
            if ... in names or len(names) != len(args[1]):
                return None
            holders = [value for value in args[0] if isinstance(value, Instance)]
            if name == "getattr":
                default = args[2] if len(args) > 2 else []
                pairs = [(holder, key) for holder in holders for key in names]
                read = [self.part(holder, key) for holder, key in pairs if len(args) < 3 or key in holder.names()]
                return [value for values in read for value in values] + default or None
            for holder in holders:
                for key in names:
                    holder.slot(str(key)).add(args[2])
            return [Constant(None)]
        return None
