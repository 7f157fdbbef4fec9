# SPDX-License-Identifier: BSD-3-Clause
"""Names of the settings of the tasks that come with Isaac Lab and mjlab, by version: ``released/*.json``.

A file is used while the installed simulator is as released. tests/hosts compares each with the simulator itself, and
``python -m trudi_rsl.hosts.stock_names <host>`` writes it, in an environment of that host.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points
from pathlib import Path
from typing import Any, TypeAlias

from trudi_rsl.settings import SETTINGS
from trudi_rsl.task_names import counterpart

Names: TypeAlias = "dict[str, Names | str | list[str] | None]"
"""Names in a section: a section of its own, or the type of a setting.

Types are ``int``, ``float``, ``bool``, :data:`LIST`, the list of the only values, or None for all others. Of a section
with the key :data:`OPEN`, there may be others. :data:`SELECTABLE`, as a type or a key, is where text selects a part.
Below :data:`SELECTIONS` at the top are the parts that :data:`SELECTORS` select by name, wherever there are some.
"""
OPEN, SELECTABLE, SELECTIONS, LIST = "*", "?", "=", "list"
PLAY = "play"
"""The command whose tasks have variants, with other terms."""
SELECTORS = ("physics", "renderer", "presets")
"""Overrides of Isaac Lab 3.0 that select parts, as ``physics=newton_mjwarp``."""
FOLDER = Path(__file__).with_name("released")
PACKAGES = {"isaaclab": "isaaclab_tasks", "mjlab": "mjlab"}
"""By distribution, which has the name of its host: the package of its tasks."""
COLLECTORS = {"isaaclab": "trudi_rsl.hosts.isaaclab.launch", "mjlab": "trudi_rsl.hosts.mjlab.launch"}
"""By host: the module with its ``stock_tasks()``, which yields the arguments of :func:`encode`."""


def stock_names(host: str, command: str, task: str, algo: str | None, selected: Sequence[str]) -> Names | None:
    """Return the names of a task's settings with overrides that select parts of it; None if they are not stored.

    Those of TruDi's relatives are not stored, except for REPPO and DIME, which have TruDi's, nor are the agents' of
    ``play``. Another installed package may have tasks of the same names, or with another version in them.
    """
    if any(not entry.value.startswith("trudi_rsl.") for entry in entry_points(group=f"{host}.tasks")):
        return None
    try:
        installed = distribution(host)
        stored = json.loads(_file(installed).read_text())
    except (PackageNotFoundError, OSError):
        return None
    name = counterpart(task, stored["tasks"], command == PLAY)
    roots = stored["tasks"][name].get(" ".join(selected)) if name else None
    kind = PLAY if command == PLAY else "ppo" if algo == "ppo" else "trudi"
    if roots is None or kind not in roots or not _is_as_released(installed, PACKAGES[host]):
        return None
    names = decode(stored, roots[kind])
    return names if kind != PLAY and (algo == "ppo" or algo in SETTINGS) else names | {"agent": None}


def decode(stored: Mapping[str, Any], root: int) -> Names:
    """Return the names below the section of a number in the content of a file."""
    sections: list[Names] = []
    for section in stored["sections"]:
        sections.append({name: sections[of] if isinstance(of, int) else of for name, of in section.items()})
    return sections[root]


def encode(tasks: Iterable[tuple[str, Sequence[str], str, Names]]) -> str:
    """Return the content of a file: of each task, with selecting overrides and for each kind, the names.

    Kinds are ``trudi`` and ``ppo``, and :data:`PLAY`, which has no agent's.

    Equal sections are stored once, each after those in it, and refer to those by number. TruDi's settings are left out:
    :mod:`trudi_rsl.settings` has them.
    """
    numbers: dict[str, int] = {}

    def number(section: Names) -> int:
        text = json.dumps({name: number(of) if isinstance(of, dict) else of for name, of in section.items()})
        return numbers.setdefault(text, len(numbers))

    roots: dict[str, dict[str, dict[str, int]]] = {}
    for task, selected, algo, names in tasks:
        if algo == "trudi" and isinstance(agent := names["agent"], dict):
            names = names | {"agent": agent | {"algorithm": None}}
        roots.setdefault(task, {}).setdefault(" ".join(selected), {})[algo] = number(names)
    lines = ",\n".join(numbers)
    entries = ",\n".join(f"{json.dumps(task)}: {json.dumps(of)}" for task, of in sorted(roots.items()))
    return f'{{"sections": [\n{lines}\n],\n"tasks": {{\n{entries}\n}}}}\n'


def collect(host: str) -> str:
    """Return the content of the file for the installed version of a host, which is imported."""
    return encode(importlib.import_module(COLLECTORS[host]).stock_tasks())


def _file(installed: Distribution) -> Path:
    return FOLDER / f"{installed.name}-{installed.version}.json"


def _is_as_released(installed: Distribution, package: str) -> bool:
    """Return whether a package is that of an installed wheel, all of whose modules have their sizes."""
    # in Isaac Lab 2.3, the tasks are inside of the distribution's own package
    spec = importlib.util.find_spec(package) or importlib.util.find_spec(installed.name)
    origin, found, root = spec and spec.origin, False, str(installed.locate_file(""))
    for path, _, size in csv.reader((installed.read_text("RECORD") or "").splitlines()):
        if not path.endswith(".py"):
            continue
        file = os.path.join(root, path)  # thousands of files, for which pathlib takes three times as long
        found |= file == origin
        try:
            if size and os.stat(file).st_size != int(size):
                return False
        except OSError:
            return False
    return found


def _write(host: str) -> None:
    text, file = collect(host), _file(distribution(host))
    file.write_text(text)
    print(f"{file}: {len(text)} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host", choices=COLLECTORS)
    _write(parser.parse_args().host)
