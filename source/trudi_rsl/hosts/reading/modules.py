# SPDX-License-Identifier: BSD-3-Clause
"""Source files of installed packages as trees, and what the names in them are bound to. Nothing is imported."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_BLOCKS = ("body", "orelse", "finalbody", "handlers")


@dataclass(eq=False)
class Module:
    """One module of a package that is read."""

    name: str
    file: Path
    bindings: dict[str, list[ast.stmt]] = field(default_factory=dict)
    """Names at the top level to the statements that bind them."""
    stars: list[str] = field(default_factory=list)
    """Modules of which all names are imported."""
    changes: list[ast.stmt] = field(default_factory=list)
    """Statements at the top level that may change objects, as ``CFG.scene.num_envs = 2``."""

    @property
    def is_package(self) -> bool:
        """Whether it is the file of a package."""
        return self.file.stem == "__init__"

    def absolute(self, module: str | None, level: int) -> str:
        """Return the full name of the module in ``from ..module import name`` inside this one."""
        if level == 0:
            return module or ""
        parts = self.name.split(".")
        package = parts[: len(parts) - level + self.is_package]
        return ".".join([*package, *filter(None, [module])])


class Packages:
    """The packages whose files are read, others are not followed."""

    def __init__(self, names: Collection[str]) -> None:
        self._folders = {name: folder for name in names if (folder := find_folder(name)) is not None}
        self._modules: dict[str, Module | None] = {}

    def __contains__(self, module: str) -> bool:
        return module.partition(".")[0] in self._folders

    def folders(self) -> Iterator[tuple[str, Path]]:
        """Yield names and folders of the packages, the file instead for a module without a folder."""
        yield from self._folders.items()

    def module(self, name: str) -> Module | None:
        """Return a module of one of the packages; None if there is none."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def may_have(self, name: str, binding: str) -> bool:
        """Return whether a module may bind a name, by its text: most of those that are searched are not parsed."""
        if name in self._modules:
            return True
        if (found := self._files(name)) is None:
            return False
        texts = [file.read_bytes() for file in found if file.is_file()]
        return any(binding.encode() in text or b"import *" in text for text in texts)

    def _read(self, name: str) -> Module | None:
        if (files := self._files(name)) is None:
            return None
        module = Module(name, files[0])
        for file in files:
            if file.is_file():
                _bind(ast.parse(file.read_bytes()).body, module)
        return module

    def _files(self, name: str) -> tuple[Path, Path] | None:
        """Return the files of a module: its source, and a stub, which lists what a package imports on demand."""
        top, *rest = name.split(".")
        if (path := self._folders.get(top)) is None or (path.suffix == ".py" and rest):
            return None
        if path.suffix != ".py":
            path = path.joinpath(*rest)
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        return (
            (path, path.with_suffix(".pyi"))
            if path.is_file() or (path.parent.is_dir() and path.stem == "__init__")
            else None
        )


def find_folder(package: str) -> Path | None:
    """Return the folder of a package, or the file of a module without one; None if it is not installed."""
    try:
        spec = importlib.util.find_spec(package)
        # Isaac Lab 2.3's wheel has its packages inside another one, which adds them to the path when it is imported
        outer = (
            spec
            if package == "isaaclab" or not package.startswith("isaaclab")
            else importlib.util.find_spec("isaaclab")
        )
    except (ImportError, ValueError):
        return None
    for folder in (outer.submodule_search_locations or ()) if outer is not None else ():
        inner = Path(folder, "source", package, package)
        if (inner / "__init__.py").is_file():
            return inner
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0]) if folders else Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None


def nested_statements(statement: ast.stmt) -> Iterator[ast.stmt]:
    """Yield the statements in the blocks of a compound statement, but for those of functions and classes."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for block in _BLOCKS:
        for inner in getattr(statement, block, ()):
            yield from inner.body if isinstance(inner, ast.ExceptHandler) else (inner,)


def targets_of(statement: ast.stmt) -> list[ast.expr]:
    """Return the expressions that a statement assigns to."""
    match statement:
        case ast.Assign():
            return statement.targets
        case ast.AnnAssign() | ast.AugAssign() | ast.For():
            return [statement.target]
        case ast.With():
            return [item.optional_vars for item in statement.items if item.optional_vars is not None]
    return []


def _bind(statements: list[ast.stmt], module: Module) -> None:
    for statement in statements:
        names: list[str] = []
        match statement:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                names = [statement.name]
            case ast.Import():
                names = [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
            case ast.ImportFrom():
                names = [alias.asname or alias.name for alias in statement.names]
                if names == ["*"]:
                    module.stars.append(module.absolute(statement.module, statement.level))
        for target in targets_of(statement):
            found = [node for node in ast.walk(target) if isinstance(node, ast.Name | ast.Attribute | ast.Subscript)]
            names += [node.id for node in found if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
            if any(not isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) for node in found):
                module.changes.append(statement)
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            module.changes.append(statement)
        for name in names:
            module.bindings.setdefault(name, []).append(statement)
        _bind(list(nested_statements(statement)), module)
