# SPDX-License-Identifier: BSD-3-Clause
"""Running statements: every branch is taken, and every value that a name is set to stays one of those it may have."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Callable, Iterable

from trudi_rsl.hosts.reading.modules import nested_statements
from trudi_rsl.hosts.reading.parts import Parts, name_of
from trudi_rsl.hosts.reading.values import (
    UNKNOWN,
    Class,
    Constant,
    Dictionary,
    Function,
    Instance,
    Scope,
    Sequence,
    Slot,
    Values,
    forget,
)

DEEPEST = 60
"""Calls inside of calls."""


class UnreadableError(Exception):
    """The source is too long, too deep or in a form that is not understood."""


class Statements(Parts):
    """Runs statements and functions."""

    def __init__(self) -> None:
        self._depth = 0

    @abstractmethod
    def bound(self, statement: ast.stmt, name: str, scope: Scope) -> Values:
        """Return what a statement binds a name to."""

    def run(self, statements: Iterable[ast.stmt], scope: Scope) -> None:
        """Run statements and all in their blocks."""
        for statement in statements:
            match statement:
                case ast.Assign():
                    for target in statement.targets:
                        self._assign(target, statement.value, scope)
                case ast.AnnAssign() if statement.value is not None:
                    self._assign(statement.target, statement.value, scope)
                case ast.AugAssign():
                    self._assign(statement.target, statement.value, scope)
                case ast.Expr():
                    self.evaluate(statement.value, scope)
                case ast.Return() if statement.value is not None:
                    scope.returned += self.evaluate(statement.value, scope)
                case ast.For():
                    self.store(statement.target, self.elements(self.evaluate(statement.iter, scope)), scope)
                case ast.With():
                    for item in statement.items:
                        self.evaluate(item.context_expr, scope)
                        if item.optional_vars is not None:
                            self.store(item.optional_vars, [UNKNOWN], scope)
                case ast.FunctionDef() | ast.ClassDef():
                    scope.slots.setdefault(statement.name, Slot()).add(self.bound(statement, statement.name, scope))
                case ast.Import() | ast.ImportFrom():
                    for alias in statement.names:
                        name = alias.asname or (
                            alias.name if isinstance(statement, ast.ImportFrom) else alias.name.partition(".")[0]
                        )
                        thunk = lambda statement=statement, name=name: self.bound(statement, name, scope)  # noqa: E731
                        scope.slots.setdefault(name, Slot()).add(thunk)
                case ast.If() | ast.While():
                    self.evaluate(statement.test, scope)
                case (
                    ast.AnnAssign() | ast.Return() | ast.Try() | ast.Pass() | ast.Raise() | ast.Assert() | ast.Delete()
                ):
                    pass
                case ast.Break() | ast.Continue():
                    pass
                case _:
                    raise UnreadableError(ast.unparse(statement))
            self.run(nested_statements(statement), scope)

    def _assign(self, target: ast.expr, value: ast.expr, scope: Scope) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for one, other in zip(target.elts, value.elts, strict=True):
                self._assign(one, other, scope)
            return
        deferred = self.deferred(value, scope)
        self.store(target, deferred, scope)

    def deferred(self, value: ast.expr, scope: Scope) -> Callable[[], Values] | Values:
        """Return the values of an expression, or a function for later if no call in it can change a local object."""
        for call in ast.walk(value):
            if isinstance(call, ast.Call):
                names = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
                if names & scope.slots.keys():
                    return self.evaluate(value, scope)
        return lambda: self.evaluate(value, scope)

    def store(self, target: ast.expr, values: Callable[[], Values] | Values, scope: Scope) -> None:
        """Add values to those of what is assigned to."""
        match target:
            case ast.Name():
                scope.slots.setdefault(target.id, Slot()).add(values)
            case ast.Attribute():
                for holder in self.evaluate(target.value, scope):
                    if isinstance(holder, Class):
                        holder.fields.setdefault(target.attr, None)
                    if isinstance(holder, Instance | Class):
                        holder.slot(target.attr).add(values)
            case ast.Subscript():
                keys = self.keys(target.slice, scope)
                for holder in self.evaluate(target.value, scope):
                    if isinstance(holder, Sequence):
                        holder.slot("").add(values)
                    elif isinstance(holder, Dictionary) and keys is None:
                        forget([holder])
                    elif isinstance(holder, Dictionary):
                        for key in keys or ():
                            holder.slot(key).add(values)
            case ast.Tuple() | ast.List():
                found = values() if callable(values) else values
                for element in target.elts:
                    self.store(element, self.elements(found), scope)
            case ast.Starred():
                self.store(target.value, [UNKNOWN], scope)

    def call_function(self, function: Function, args: list[Values], keywords: dict[str, Slot]) -> Values:
        """Return what a function may return, after running its body."""
        node, parameters = function.node, function.node.args
        if self._depth >= DEEPEST:
            raise UnreadableError("too deep")
        scope = Scope(function.scope.module, {}, _outside_ofclasses_of(function.scope), [], function)
        names = [arg.arg for arg in (*parameters.posonlyargs, *parameters.args)]
        positional = [*([function.receiver] if function.receiver else []), *args]
        defaults = dict(zip(names[len(names) - len(parameters.defaults) :], parameters.defaults, strict=True))
        defaults |= {
            arg.arg: value for arg, value in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True) if value
        }
        for name in (*names, *(arg.arg for arg in parameters.kwonlyargs)):
            slot = scope.slots[name] = Slot()
            if name in names and names.index(name) < len(positional):
                slot.add(positional[names.index(name)])
            elif name in keywords:
                slot.add(keywords[name].read)
            elif name in defaults:
                slot.add(lambda value=defaults[name]: self.evaluate(value, function.scope))
            else:
                slot.add([UNKNOWN])
        left = [slot.read() for name, slot in keywords.items() if name not in scope.slots] + positional[len(names) :]
        forget(value for values in left for value in values)
        for arg in (parameters.vararg, parameters.kwarg):
            if arg is not None:
                scope.slots[arg.arg] = Slot()
                scope.slots[arg.arg].add([UNKNOWN])
        if not isinstance(node, ast.Lambda) and any(
            name_of(it) not in ("staticmethod", "classmethod", "property") for it in node.decorator_list
        ):
            forget(value for values in positional for value in values)
            return [UNKNOWN]
        self._depth += 1
        if isinstance(node, ast.Lambda):
            scope.returned += self.evaluate(node.body, scope)
        else:
            self.run(node.body, scope)
        self._depth -= 1
        return scope.returned or [Constant(None)]


def _outside_ofclasses_of(scope: Scope) -> Scope | None:
    """Return the scope around that of a class, whose names its methods do not see."""
    return scope.outer if scope.is_class else scope
