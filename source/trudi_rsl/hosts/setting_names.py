# SPDX-License-Identifier: BSD-3-Clause
"""Names of settings that only a task's simulator knows, to check overrides before the ten seconds of its import.

They are those of the task's last start, while the files of all modules that it imported are unchanged; before that,
those of the simulator's own tasks (:mod:`trudi_rsl.hosts.stock_names`). Nothing else that a task reads is known, so a
refusal is not final: the same command again starts the simulator, which decides then and later.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import json
import os
import re
import sys
import time
import typing
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trudi_rsl.config.overrides import OPEN_SECTIONS, parse_overrides
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.files import atomic_write
from trudi_rsl.hosts.stock_names import OPEN, Names, stock_names
from trudi_rsl.settings import SETTINGS

KINDS = {int: "an integer", float: "a number", bool: "true or false"}
MAX_DEPTH = 16
"""Sections further down, as those of a configuration that contains itself, are read as settings."""

BEGAN = time.time_ns()
"""About when this process was started, in nanoseconds since the epoch."""


def names_in(section: Any, *, selectable: bool = False, depth: int = 0) -> Names | None:
    """Return the names in a configuration; None if it is a value.

    Args:
        section: Dataclasses and mappings in each other.
        selectable: Whether it is Isaac Lab's, which accepts new keys of mappings, and whose overrides may select a
            part of the configuration where they would otherwise set a number.
        depth: How many sections it is in.
    """
    if isinstance(section, type) or depth > MAX_DEPTH:
        return None
    if isinstance(section, Mapping):
        known: Names = {
            str(key): names_in(value, selectable=selectable, depth=depth + 1) for key, value in section.items()
        }
        # a dot in a key, as in patterns of joint names, reads as the end of a section
        return known | ({OPEN: None} if selectable or any("." in key for key in known) else {})
    if not dataclasses.is_dataclass(section):
        return None
    try:
        hints = typing.get_type_hints(type(section))
    except Exception:  # names that exist only while types are checked
        hints = {}
    fields = dict.fromkeys([*(field.name for field in dataclasses.fields(section)), *getattr(section, "__dict__", ())])
    return {
        name: names_in(getattr(section, name, None), selectable=selectable, depth=depth + 1)
        or (hints[name].__name__ if hints.get(name) in KINDS and not selectable else None)
        for name in fields
    }


@dataclass(frozen=True)
class Start:
    """What a user started: the settings of a task can differ by all of it."""

    host: str
    command: str
    task: str
    algo: str | None
    selected: tuple[str, ...] = ()
    """Overrides that may select parts of the configuration."""

    def remember(self, names: Names) -> None:
        """Keep the names of the task's settings; a cache that cannot be written changes nothing.

        Nothing is kept if a file was changed after this process began, which may have imported it before.
        """
        # not by `getattr`, on which some modules import others
        found = {getattr(module, "__dict__", {}).get("__file__") for module in list(sys.modules.values())}
        files = sorted(file for file in found if isinstance(file, str))
        if self.algo is None:  # that of a checkpoint, and the next one's may be another
            names = names | {"agent": None}
        if all(_changed(file) < BEGAN for file in files):
            doubted = self._read().get("doubted", [])
            self._write({"files": files, "stamp": _stamp(files), "names": names, "doubted": doubted})

    def known(self) -> Names | None:
        """Return the names of the task's settings, None if they are not known without its simulator."""
        return self._known(self._read())

    def _known(self, kept: Mapping[str, Any]) -> Names | None:
        """Return :meth:`known` from what the last start or refusal has kept."""
        if (names := kept.get("names")) is not None:
            return names
        if self.command != "train":  # variants for playing have other terms
            return None
        of_environment = [text for text in self.selected if not text.startswith("agent.")]
        stored = stock_names(self.host, self.task, self.algo, of_environment)
        return stored if stored is None or len(of_environment) == len(self.selected) else stored | {"agent": None}

    def check(self, overrides: Sequence[str], title: str) -> None:
        """Raise a ConfigError for an override that the task does not accept, as far as is known without its simulator.

        An override is refused once: repeated, it is left to the simulator, called ``title``, until a file changes.
        """
        kept = self._read()
        if (names := self._known(kept)) is None:
            return
        for text in _only_overrides(overrides):
            reason = None if text in kept.get("doubted", ()) else self._why_not(text, names)
            doubted = {"doubted": [*kept.get("doubted", ()), text]}
            # a refusal that cannot be kept would be final
            if reason is not None and self._write({"files": [], "stamp": _stamp([])} | kept | doubted):
                raise ConfigError(f"{reason} If it is right, repeat the command: {title} then decides.")

    def _why_not(self, text: str, names: Names) -> str | None:
        """Return why an override is refused; None if it is accepted, or only the simulator knows."""
        name = text.partition("=")[0]
        if name.startswith("agent.algorithm.") and self.algo in SETTINGS:
            return None  # our own settings
        node: Any = names
        parts = name.split(".")
        for depth, part in enumerate(parts):
            where = ".".join(parts[:depth]) or "the configuration"
            if not isinstance(node, dict) or (part not in node and (OPEN in node or where in OPEN_SECTIONS)):
                return None
            if part not in node:
                return f"Unknown setting {name!r}: no {part!r} in {where}. {nearest(part, list(node))}"
            node = node[part]
        if isinstance(node, str) and isinstance(value := parse_overrides([text])[0].value(), str) and "${" not in text:
            type_, kind = next((type_, kind) for type_, kind in KINDS.items() if type_.__name__ == node)
            return None if _is_read(value, type_) else f"{name} must be {kind}; got {value}."
        return None

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


def _is_read(text: str, kind: type) -> bool:
    """Return whether text, as of a value in quotes or ``infinity``, is read as a value of a type."""
    if kind is bool:
        return text.lower() in ("true", "false")
    try:
        kind(text)
    except ValueError:
        return False
    return True


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
