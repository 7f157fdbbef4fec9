# SPDX-License-Identifier: BSD-3-Clause
"""Finds the registration of a task in the source of packages."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trudi_rsl.hosts.reading.modules import Packages, find_folder
from trudi_rsl.hosts.reading.reader import Reader
from trudi_rsl.hosts.reading.values import Class, Constant, Function, Scope, Value, Values

_NAME = re.compile(rb"""\b(?:task_)?id\s*=\s*["']([\w-]+)["']""")


@dataclass
class Registration:
    """A task's registration."""

    reader: Reader
    module: str
    arguments: dict[str, ast.expr]
    """Its keyword arguments, those of Gymnasium's ``kwargs`` among them."""

    def configuration(self, name: str) -> Values | None:
        """Return what the configuration in an argument may be; None if the task has no such argument."""
        module = self.reader.packages.module(self.module)
        if name not in self.arguments or module is None:
            return None
        return [
            made for value in self.reader.evaluate(self.arguments[name], Scope(module)) for made in self._made(value)
        ]

    def made_from(self, place: str) -> Values:
        """Return what ``module:Class`` makes."""
        return self._made(Constant(place))

    def _made(self, value: Value) -> Values:
        if isinstance(value, Constant) and isinstance(value.value, str):
            module, _, attribute = value.value.partition(":")
            return [made for item in self.reader.named(module, attribute) for made in self._made(item)]
        if isinstance(value, Class):
            return [self.reader.instantiate(value)]
        if isinstance(value, Function):
            return self.reader.call(value)
        return [value]


def registered_names(packages: Iterable[str]) -> dict[str, list[tuple[str, Path]]]:
    """Return the names that packages register as text, each with the modules and files that do."""
    found: dict[str, list[tuple[str, Path]]] = {}
    for package in packages:
        folder = find_folder(package)
        for module, file in _files(package, folder) if folder is not None else ():
            for name in _NAME.findall(file.read_bytes()):
                found.setdefault(name.decode(), []).append((module, file))
    return found


def find_registration(task: str, where: Collection[tuple[str, Path]], followed: Collection[str]) -> Registration | None:
    """Return a task's registration; None unless exactly one is found.

    Args:
        task: Its name.
        where: Modules and files in which it may be.
        followed: Packages whose files are read.
    """
    if len(where) != 1:
        return None
    ((module, file),) = where
    calls = [dict(_keywords(node)) for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.Call)]
    named = [it for it in calls if any(getattr(it.get(key), "value", None) == task for key in ("id", "task_id"))]
    return Registration(Reader(Packages(followed)), module, named[0]) if len(named) == 1 else None


def _keywords(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    for keyword in call.keywords:
        if keyword.arg == "kwargs" and isinstance(keyword.value, ast.Dict):
            for key, value in zip(keyword.value.keys, keyword.value.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield str(key.value), value
        elif keyword.arg is not None:
            yield keyword.arg, keyword.value


def _files(package: str, folder: Path) -> Iterator[tuple[str, Path]]:
    if folder.is_file():
        yield package, folder
        return
    for file in folder.rglob("*.py"):
        parts = file.relative_to(folder).with_suffix("").parts
        yield ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)]), file
