# SPDX-License-Identifier: BSD-3-Clause
"""Evaluates the source of configurations to all values that they may have, without running it.

Every branch is taken, and nothing that was set is forgotten, so that the names found are at least those that exist.
Where something is not understood, or a function that is not read may change an object, its names are not complete.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from trudi_rsl.hosts.reading.calls import PURE, Calls
from trudi_rsl.hosts.reading.modules import Module, Packages, nested_statements
from trudi_rsl.hosts.reading.parts import name_of
from trudi_rsl.hosts.reading.statements import UnreadableError
from trudi_rsl.hosts.reading.values import (
    UNKNOWN,
    Class,
    Constant,
    Dictionary,
    External,
    Function,
    Instance,
    ModuleValue,
    Scope,
    Sequence,
    Slot,
    Value,
    Values,
)

LONGEST = 100_000
"""Expressions that are evaluated for one task, a few times as many as the largest of Isaac Lab and mjlab have."""

_PLAIN_BASES = ("builtins.object", "abc.ABC", "typing.Generic")
_PLAIN_CLASSES = ("configclass", "dataclass")
"""Decorators that keep a class's names."""
_ABSENT = ("dataclasses.MISSING", "omegaconf.MISSING", "isaaclab.utils.MISSING")


class Reader(Calls):
    """Evaluates expressions in modules of packages."""

    def __init__(self, packages: Packages) -> None:
        super().__init__()
        self.packages = packages
        self._slots: dict[tuple[Module, str], Slot] = {}
        self._changed: set[Module] = set()
        self._reading: list[Module] = []
        self._count = 0

    def named(self, module: str, name: str) -> Values:
        """Return what a name of a module is bound to, or the module's submodule of that name."""
        if (found := self.packages.module(module)) is None:
            return [UNKNOWN] if module in self.packages else [External(f"{module}.{name}")]
        return self._of_module(found, name) or self._module(f"{module}.{name}") or [UNKNOWN]

    def _module(self, name: str) -> Values:
        module = self.packages.module(name)
        return [] if module is None else [ModuleValue(module)]

    def _of_module(self, module: Module, name: str) -> Values:
        if name == "__name__":
            return [Constant(module.name)]
        if (slot := self._slots.get((module, name))) is None:
            slot = self._slots[module, name] = Slot()
            scope = Scope(module)
            for statement in module.bindings.get(name, ()):
                slot.add(lambda statement=statement: self.bound(statement, name, scope))
            if name not in module.bindings:
                for other in module.stars:
                    if self.packages.may_have(other, name) and (found := self.packages.module(other)) is not None:
                        slot.add(self._of_module(found, name))
        self._reading.append(module)
        values = slot.read()
        self._reading.pop()
        if module not in self._reading and module not in self._changed:
            self._changed.add(module)
            self.run([statement for statement in module.changes if _changes_objects(statement, module)], Scope(module))
        return values

    def bound(self, statement: ast.stmt, name: str, scope: Scope) -> Values:
        """Return what a statement binds a name to."""
        match statement:
            case ast.ClassDef():
                return [self._class(statement, scope)]
            case ast.FunctionDef():
                return [Function(statement, scope)]
            case ast.Import():
                for alias in statement.names:
                    if name == (alias.asname or alias.name.partition(".")[0]):
                        full = alias.name if alias.asname else name
                        return self._module(full) or ([UNKNOWN] if full in self.packages else [External(full)])
            case ast.ImportFrom():
                source = scope.module.absolute(statement.module, statement.level)
                names = [alias.name for alias in statement.names if name == (alias.asname or alias.name)]
                return [value for original in names for value in self.named(source, original)]
            case ast.Assign(targets=targets) if all(isinstance(target, ast.Name) for target in targets):
                return self.evaluate(statement.value, scope)
            case ast.AnnAssign():
                return [] if statement.value is None else self.evaluate(statement.value, scope)
            case ast.For(target=ast.Name()):
                return self.elements(self.evaluate(statement.iter, scope))
        return [UNKNOWN]

    def _lookup(self, name: str, scope: Scope) -> Values:
        inner: Scope | None = scope
        while inner is not None:
            if name in inner.slots:
                return inner.slots[name].read()
            inner = inner.outer
        return self._of_module(scope.module, name) or [External(f"builtins.{name}")]

    def _class(self, node: ast.ClassDef, scope: Scope) -> Class:
        cls = Class(node=node, scope=scope)
        cls.scope = inner = Scope(scope.module, cls.slots, scope, is_class=True)
        cls.bases = [cls]
        for base in node.bases:
            expression = base.value if isinstance(base, ast.Subscript) else base
            values = self.evaluate(expression, scope)
            cls.complete &= bool(values)
            for value in values:
                if isinstance(value, Class):
                    cls.bases += [other for other in value.bases if other not in cls.bases]
                    cls.complete &= value.complete
                elif not (isinstance(value, External) and value.name in _PLAIN_BASES):
                    cls.complete = False
        cls.complete &= not node.keywords and all(name_of(it) in _PLAIN_CLASSES for it in node.decorator_list)
        self._body(node.body, cls, inner)
        # what answers for names that it does not have
        cls.complete &= not {"__getattr__", "__getattribute__", "__setattr__"} & {*cls.methods}
        return cls

    def _body(self, statements: Iterable[ast.stmt], cls: Class, scope: Scope) -> None:
        for statement in statements:
            match statement:
                case ast.FunctionDef():
                    cls.methods[statement.name] = statement
                case ast.ClassDef():
                    cls.slot(statement.name).add(lambda statement=statement: [self._class(statement, scope)])
                case ast.AnnAssign(target=ast.Name(id=name)):
                    cls.fields[name] = statement.annotation
                    if (value := statement.value) is not None:
                        cls.slot(name).add(lambda value=value: self.evaluate(value, scope))
                case ast.Assign() if all(isinstance(target, ast.Name) for target in statement.targets):
                    for target in statement.targets:
                        name = getattr(target, "id", "")
                        cls.fields.setdefault(name, None)
                        cls.slot(name).add(lambda value=statement.value: self.evaluate(value, scope))
                case ast.Pass() | ast.Expr(value=ast.Constant()):
                    pass
                case ast.If():
                    self._body(nested_statements(statement), cls, scope)
                case _:
                    cls.complete = False

    def instantiate(self, cls: Class, args: list[Values] = [], keywords: dict[str, Slot] = {}) -> Instance:  # noqa: B006
        """Return a new instance, whose constructor has been called with positional and keyword arguments."""
        made = Instance(cls=cls, complete=cls.complete)
        own = next((base for base in cls.bases if "__init__" in base.methods), None)
        if own is not None:
            self.call_function(Function(own.methods["__init__"], own.scope, [made], own), args, keywords)
        else:
            ordered = dict.fromkeys(
                name
                for base in reversed(cls.bases)
                for name, hint in base.fields.items()
                if "ClassVar" not in _text(hint)
            )
            for name, values in zip(ordered, args, strict=False):
                made.slot(name).add(values)
            for name, slot in keywords.items():
                made.slot(name).add(slot.read)
        for base in reversed(cls.bases):
            if "__post_init__" in base.methods:
                self.call_function(Function(base.methods["__post_init__"], base.scope, [made], base), [], {})
        return made

    def by_annotation(self, cls: Class, name: str) -> Values:
        """See :meth:`Parts.by_annotation`."""
        if name not in cls.by_annotation:
            cls.by_annotation[name] = [UNKNOWN]  # while it is read
            hint = cls.fields.get(name)
            cls.by_annotation[name] = [] if hint is None else list(self._annotated(hint, cls.scope))
        return cls.by_annotation[name]

    def _annotated(self, hint: ast.expr, scope: Scope) -> Iterator[Value]:
        match hint:
            case ast.Constant(value=str(text)):
                yield from self._annotated(ast.parse(text, mode="eval").body, scope)
            case ast.Constant():
                yield Constant()
            case ast.BinOp():
                yield from self._annotated(hint.left, scope)
                yield from self._annotated(hint.right, scope)
            case ast.Name() | ast.Attribute():
                for value in self.evaluate(hint, scope):
                    if isinstance(value, Class):
                        yield self.instantiate(value)
                    else:
                        plain = isinstance(value, External) and value.name.removeprefix("builtins.") in PURE
                        yield Constant() if plain else UNKNOWN
            case ast.Subscript() if name_of(hint) == "Literal":
                yield Constant()
            case ast.Subscript() if name_of(hint) == "Optional":
                yield from self._annotated(hint.slice, scope)
            case _:
                yield UNKNOWN

    def evaluate(self, node: ast.expr, scope: Scope) -> Values:
        """Return all values that an expression may have.

        Raises:
            UnreadableError: There is too much to evaluate.
        """
        self._count += 1
        if self._count > LONGEST:
            raise UnreadableError("too long")
        values = self._evaluate(node, scope)
        return [value for value in values if not (isinstance(value, External) and value.name in _ABSENT)]

    def _evaluate(self, node: ast.expr, scope: Scope) -> Values:
        match node:
            case ast.Constant():
                return [Constant(node.value)]
            case ast.Name():
                return self._lookup(node.id, scope)
            case ast.Attribute():
                return [item for value in self.evaluate(node.value, scope) for item in self.part(value, node.attr)]
            case ast.Subscript():
                return self.items(self.evaluate(node.value, scope), node.slice, scope)
            case ast.Call():
                return self.call_expression(node, scope)
            case ast.Dict():
                return [self._dictionary(node, scope)]
            case ast.List() | ast.Tuple() | ast.Set():
                made = Sequence()
                for element in node.elts:
                    inner = element.value if isinstance(element, ast.Starred) else element
                    values = self.evaluate(inner, scope)
                    made.slot("").add(self.elements(values) if inner is not element else values)
                return [made]
            case ast.BinOp():
                both = [self.evaluate(node.left, scope), self.evaluate(node.right, scope)]
                texts = [side[0].value for side in both if len(side) == 1 and isinstance(side[0], Constant)]
                if len(texts) == 2 and all(isinstance(text, str) for text in texts) and isinstance(node.op, ast.Add):
                    return [Constant(texts[0] + texts[1])]
                return self._one_of(both)
            case ast.BoolOp():
                return [item for value in node.values for item in self.evaluate(value, scope)]
            case ast.IfExp():
                self.evaluate(node.test, scope)
                return self.evaluate(node.body, scope) + self.evaluate(node.orelse, scope)
            case ast.NamedExpr():
                values = self.evaluate(node.value, scope)
                self.store(node.target, values, scope)
                return values
            case ast.JoinedStr():
                parts = [
                    self.evaluate(getattr(part, "value", part) if isinstance(part, ast.FormattedValue) else part, scope)
                    for part in node.values
                ]
                known = [part[0].value for part in parts if len(part) == 1 and isinstance(part[0], Constant)]
                whole = len(known) == len(parts) and ... not in known
                return [Constant("".join(map(str, known)) if whole else ...)]
            case ast.Lambda():
                return [Function(node, scope)]
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return [self._comprehension(node, scope)]
            case ast.Compare() | ast.UnaryOp() | ast.Slice():
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self.evaluate(child, scope)
                return [Constant()]
        return [UNKNOWN]

    def _one_of(self, sides: list[Values]) -> Values:
        """Return the result of an operator: containers on both sides are joined, anything else is a plain value."""
        joined = [value for side in sides for value in side if not isinstance(value, Constant | External)]
        return joined or [Constant()]

    def _dictionary(self, node: ast.Dict, scope: Scope) -> Dictionary:
        made = Dictionary()
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                self.merge(made, self.evaluate(value, scope))
            elif (keys := self.keys(key, scope)) is None:
                made.complete = False
                self.evaluate(value, scope)
            else:
                for name in keys:
                    made.slot(name).add(self.deferred(value, scope))
        return made

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: Scope) -> Value:
        inner = Scope(scope.module, {}, scope)
        for generator in node.generators:
            self.store(generator.target, self.elements(self.evaluate(generator.iter, inner)), inner)
            for condition in generator.ifs:
                self.evaluate(condition, inner)
        if not isinstance(node, ast.DictComp):
            made = Sequence()
            made.slot("").add(self.evaluate(node.elt, inner))
            return made
        keys, values = self.keys(node.key, inner), self.evaluate(node.value, inner)
        entries = Dictionary(complete=keys is not None)
        for key in keys or ():
            entries.slot(key).add(values)
        return entries


def _text(hint: ast.expr | None) -> str:
    return "" if hint is None else ast.unparse(hint)


def _changes_objects(statement: ast.stmt, module: Module) -> bool:
    """Return whether a statement at the top level may change a configuration: not a registration or import."""
    if not isinstance(statement, ast.Expr):
        return True
    call = statement.value
    root: ast.AST = call.func if isinstance(call, ast.Call) else call
    is_method = isinstance(root, ast.Attribute)
    while isinstance(root, ast.Attribute | ast.Subscript):
        root = root.value
    if not isinstance(root, ast.Name):
        return False
    bound = module.bindings.get(root.id, [])
    return root.id == "setattr" or (
        is_method and any(isinstance(it, ast.Assign | ast.AnnAssign | ast.ImportFrom) for it in bound)
    )
