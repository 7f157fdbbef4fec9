# SPDX-License-Identifier: BSD-3-Clause
"""Names of settings that only a task's simulator knows, to check overrides before the ten seconds of its import.

They are those of the task's last start, while the files of all modules that it imported are unchanged; before that,
those of the simulator's own tasks (:mod:`trudi_rsl.hosts.stock_names`). Nothing else that a task reads is known, so a
refusal is not final: the same command again starts the simulator, which decides then and later.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import gzip
import hashlib
import json
import os
import re
import sys
import time
import typing
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Any

from trudi_rsl.config.overrides import OPEN_SECTIONS, parse_overrides
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.files import atomic_write
from trudi_rsl.hosts.stock_names import LIST, OPEN, SELECTABLE, SELECTIONS, SELECTORS, Names, stock_names
from trudi_rsl.settings import SETTINGS

KINDS = {"int": "an integer", "float": "a number", "bool": "true or false", LIST: "a list of numbers, as [0.5,1.0]"}
"""How values are written, by type in :data:`~trudi_rsl.hosts.stock_names.Names`."""
MAX_DEPTH = 16
"""Sections further down, as those of a configuration that contains itself, are read as settings."""

BEGAN = time.time_ns()
"""About when this process was started, in nanoseconds since the epoch."""


def names_in(section: Any, *, selectable: Collection[str] | None = None, path: str = "") -> Names | None:
    """Return the names in a configuration; None if it is a value.

    Args:
        section: Dataclasses and mappings in each other.
        selectable: Of Isaac Lab, which accepts new keys of mappings: where text selects a part of the configuration,
            as ``env.scene``. None if the host does neither.
        path: Name of the section.
    """
    if isinstance(section, type) or path.count(".") > MAX_DEPTH:
        return None
    known: Names = {}
    if isinstance(section, Mapping):
        values, hints = section, {}
        # a dot in a key, as in patterns of joint names, reads as the end of a section
        if selectable is not None or any("." in str(key) for key in section):
            known[OPEN] = None
    elif dataclasses.is_dataclass(section):
        fields = (field.name for field in dataclasses.fields(section))
        values = {name: getattr(section, name, None) for name in (*fields, *getattr(section, "__dict__", ()))}
        hints = _hints(type(section))
    else:
        return None
    for name, value in values.items():
        where = f"{path}.{name}" if path else str(name)
        inner = names_in(value, selectable=selectable, path=where)
        if selectable and where in selectable:
            known[str(name)] = SELECTABLE if inner is None else inner | {SELECTABLE: None}
        else:
            type_ = _type_of(hints.get(name))
            if isinstance(value, str) and type_ and not _is_read(value, type_):
                type_ = None  # the task itself does not respect the hint
            known[str(name)] = inner or type_
    return known


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Return the type hints of a class, without those of names that exist only while types are checked."""
    with contextlib.suppress(Exception):
        return typing.get_type_hints(cls)
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, hint in vars(base).get("__annotations__", {}).items():
            found.pop(name, None)
            with contextlib.suppress(Exception):
                alone = SimpleNamespace(__annotations__={name: hint})
                found |= typing.get_type_hints(alone, vars(sys.modules[base.__module__]))
    return found


def _type_of(hint: Any) -> str | list[str] | None:
    """Return the type of a setting in :data:`~trudi_rsl.hosts.stock_names.Names`, None if any text may be a value."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return _type_of(options[0]) if len(options) == 1 else None
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return [str(value) for value in arguments]
    if typing.get_origin(hint) in (tuple, list):
        return LIST if {int, float, ...} >= set(arguments) else None
    return hint.__name__ if hint in (int, float, bool) else None


def why_not(text: str, names: Names, algo: str | None = None) -> str | None:
    """Return why an override is refused; None if it is accepted, or only the simulator knows.

    The settings of TruDi and its relatives, if one of them is ``algo``, are checked elsewhere.
    """
    name, _, given = text.partition("=")
    if name.startswith("agent.algorithm.") and algo in SETTINGS:
        return None
    if name in SELECTORS and isinstance(parts := names.get(SELECTIONS), dict):
        unknown = [part for part in map(str.strip, given.split(",")) if part and part not in parts]
        return f"{text} selects no {unknown[0]!r} in this task. {nearest(unknown[0], list(parts))}" if unknown else None
    node: Any = names
    sections = name.split(".")
    for depth, part in enumerate(sections):
        where = ".".join(sections[:depth]) or "the configuration"
        if not isinstance(node, dict) or (part not in node and (OPEN in node or where in OPEN_SECTIONS)):
            return None
        if part not in node:
            known = [key for key in node if key not in (OPEN, SELECTABLE, SELECTIONS)]
            return f"Unknown setting {name!r}: no {part!r} in {where}. {nearest(part, known)}"
        node = node[part]
    if not isinstance(node, str | list) or node == SELECTABLE or "${" in text:
        return None
    try:
        value = parse_overrides([text])[0].value()
    except ConfigError:  # not in Hydra's grammar, but maybe in the simulator's
        return None
    if not isinstance(value, str) or value.lower() in ("none", "null") or _is_read(value, node):
        return None
    if isinstance(node, list):
        return f"Unknown value {value!r} of {name}. {nearest(value, node)}"
    return f"{name} must be {KINDS[node]}; got {value or 'nothing'}."


def refuse_wrong(overrides: Iterable[str], names: Names, algo: str | None = None) -> None:
    """Raise a ConfigError for the first override in a section of ``names`` that is refused; see :func:`why_not`."""
    for text in _only_overrides(overrides):
        if text.partition(".")[0] in names and (reason := why_not(text, names, algo)):
            raise ConfigError(reason)


def _selects(text: str, names: Names) -> bool:
    """Return whether an override selects a part of the configuration with these names."""
    name = text.partition("=")[0]
    node: Any = names
    for part in name.split("."):
        if not isinstance(node, dict) or part not in node:
            return "." not in name
        node = node[part]
    return node == SELECTABLE or isinstance(node, dict)


@dataclass(frozen=True)
class Start:
    """What a user started: the settings of a task can differ by all of it."""

    host: str
    command: str
    task: str
    algo: str | None
    selected: tuple[str, ...] = ()
    """Overrides of which some may select parts of the configuration, see :func:`selecting`."""

    def remember(self, names: Names) -> None:
        """Keep the names of the task's settings; a cache that cannot be written changes nothing.

        Nothing is kept if a file was changed after this process began, which may have imported it before.
        """
        # not by `getattr`, on which some modules import others
        found = {getattr(module, "__dict__", {}).get("__file__") for module in list(sys.modules.values())}
        files = sorted(file for file in found if isinstance(file, str))
        if self.algo is None:  # that of a checkpoint, and the next one's may be another
            names = names | {"agent": None}
        if any(_changed(file) >= BEGAN for file in files):
            return
        for start in {self, self._without_values(names)}:
            doubted = start._read().get("doubted", [])
            start._write({"files": files, "stamp": _stamp(files), "names": names, "doubted": doubted})

    def known(self) -> Names | None:
        """Return the names of the task's settings, None if they are not known without its simulator."""
        return self._resolved()[1]

    def check(self, overrides: Sequence[str], title: str) -> None:
        """Raise a ConfigError for an override that the task does not accept, as far as is known without its simulator.

        An override is refused once: repeated, it is left to the simulator, called ``title``, until a file changes.
        """
        if selectors := [text for text in self.selected if text.partition("=")[0] in SELECTORS]:
            nothing = replace(self, selected=())
            nothing._refuse(selectors, nothing._own(), title)
        start, names = self._resolved()
        start._refuse(overrides, names, title)

    def _refuse(self, overrides: Sequence[str], names: Names | None, title: str) -> None:
        if names is None:
            return
        kept = self._read()
        for text in _only_overrides(overrides):
            reason = None if text in kept.get("doubted", ()) else why_not(text, names, self.algo)
            doubted = {"doubted": [*kept.get("doubted", ()), text]}
            # a refusal that cannot be kept would be final
            if reason is not None and self._write({"files": [], "stamp": _stamp([])} | kept | doubted):
                raise ConfigError(f"{reason} If it is right, repeat the command: {title} then decides.")

    def _resolved(self) -> tuple[Start, Names | None]:
        """Return the start whose names are those of this one, and the names."""
        bare = replace(self, selected=tuple(text for text in self.selected if "." not in text.partition("=")[0]))
        names = bare._own()
        start = self if names is None else self._without_values(names)
        return start, names if start == bare else start._own()

    def _without_values(self, names: Names) -> Start:
        """Return the start without the overrides that are values of settings."""
        return replace(self, selected=tuple(text for text in self.selected if _selects(text, names)))

    def _own(self) -> Names | None:
        if (names := self._read().get("names")) is not None:
            return names
        return stock_names(self.host, self.command, self.task, self.algo, self.selected)

    def _read(self) -> dict[str, Any]:
        """Return what the last start or refusal has kept; nothing if a file has changed since then."""
        try:
            kept = json.loads(gzip.decompress(self._path.read_bytes()))
            return kept if kept.get("stamp") == _stamp(kept.get("files", ())) else {}
        # none, not one of ours, or there is no home
        except (OSError, ValueError, TypeError, AttributeError, EOFError, RuntimeError, zlib.error):
            return {}

    def _write(self, kept: Mapping[str, Any]) -> bool:
        """Return whether it could be written."""
        try:
            with atomic_write(self._path) as file:
                file.write(gzip.compress(json.dumps(kept).encode(), 6))
        except (OSError, RuntimeError):  # the disk is full, the folder of others; there is no home
            return False
        return True

    @property
    def _path(self) -> Path:
        parts = [*dataclasses.astuple(self), sys.prefix, os.environ.get("PYTHONPATH")]
        if ":" in self.task:  # a module that may be in the working folder
            parts.append(str(Path.cwd()))
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
        cache = os.environ.get("TRUDI_CACHE") or Path(
            os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "trudi_rsl"
        )
        return Path(cache, "setting_names", f"{key}.json.gz")


def selecting(arguments: Iterable[str], algo: str | None) -> tuple[str, ...]:
    """Return the overrides whose value is no number and no flag, without TruDi's, in the order of their names."""
    own = r"|agent\.algorithm\..*" if algo in SETTINGS else ""
    plain = re.compile(r"[^=]+=([+-]?[\d.][\d.eE+-]*|true|false)" + own)
    return tuple(sorted(text for text in _only_overrides(arguments) if not plain.fullmatch(text)))


def _only_overrides(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if re.match(r"[A-Za-z_][\w.]*=", text)]


def _is_read(text: str, type_: str | list[str]) -> bool:
    """Return whether text, as of a value in quotes or ``infinity``, is read as a value of a type."""
    if isinstance(type_, list):
        return text in type_
    if type_ == LIST:
        return not text.isidentifier()
    if type_ == "bool":
        return text.lower() in ("true", "false")
    for read in (int if type_ == "int" else float, ast.literal_eval):  # the latter reads 0x10
        with contextlib.suppress(ValueError, SyntaxError):
            return isinstance(read(text), int | float)
    return False


def _changed(file: str) -> int:
    """Return when a file was changed, in nanoseconds; 0 if it does not exist."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


def _stamp(files: Iterable[str]) -> str:
    """Return a hash of when the files that exist were changed, and of their sizes."""
    digest = hashlib.sha256()
    for file in files:
        with contextlib.suppress(OSError):
            status = os.stat(file)
            digest.update(f"{status.st_mtime_ns},{status.st_size};".encode())
    return digest.hexdigest()
