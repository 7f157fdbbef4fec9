# SPDX-License-Identifier: BSD-3-Clause
"""Stubs of Isaac Sim for importing Isaac Lab 2.3: modules with every attribute, each a class that does nothing.

Isaac Lab subclasses them, decorates and annotates with them, and checks that they have no special methods.

``python -m tests.hosts.isaaclab_2_3.isaac_sim_stubs script.py ...`` runs another program with these stubs.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Self

ISAAC_LAB = ("isaaclab", "isaaclab_rl", "isaaclab_tasks", "isaaclab_assets", "isaaclab_contrib")

PACKAGES = ("carb", "cv2", "hid", "isaacsim", "omni", "pxr")
"""Top-level packages of Isaac Sim, and those that Isaac Lab uses only for devices."""

# Isaac Lab 2.3 also supports 4.5, with which it needs less of the simulator.
VALUES = {"isaacsim.core.version": {"get_version": lambda: ["4.5.0", "", "4", "5", "0", "", "", ""]}}
"""Modules to attributes that need a value."""


class _Anything(type):
    def __getattr__(cls, name: str) -> type:
        return _attribute(cls, name)

    def __int__(cls) -> int:
        return 0


class Stub(metaclass=_Anything):
    """Takes any argument, has any attribute, and is empty."""

    def __new__(cls, *args: Any, **_: Any) -> Any:
        """Return a new stub, or, as a decorator, the decorated object."""
        return args[0] if len(args) == 1 and callable(args[0]) else super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, name)

    def __call__(self, *_: Any, **__: Any) -> Stub:
        return Stub()

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _attribute(holder: Any, name: str) -> type:
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(name)
    value = _Anything(name, (Stub,), {})
    setattr(holder, name, value)
    return value


class _StubModule(ModuleType):
    __file__ = __file__

    def __getattr__(self, name: str) -> type:
        return _attribute(self, name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] in PACKAGES:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _StubModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(VALUES.get(module.__name__, {}))


def install() -> None:
    """Let Isaac Lab's packages be imported from its wheel, and Isaac Sim's as stubs."""
    sys.meta_path.insert(0, _Finder())
    os.environ.setdefault("EXP_PATH", "")  # importing isaacsim sets it
    # the package that the wheel has at its top starts Isaac Sim; the real ones lie below it
    source = Path(str(importlib.metadata.distribution("isaaclab").locate_file("isaaclab/source")))
    sys.path[:0] = [str(source / name) for name in ISAAC_LAB]


if __name__ == "__main__":
    install()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
