# SPDX-License-Identifier: BSD-3-Clause
"""List the tasks that can be trained here, by simulator, and what to install for the others.

TEXT limits the list to names that contain it, in upper or lower case: trudi tasks cheetah. Any other task of a host
trains as well, as module:Name if importing a module registers it.
"""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from trudi_rsl import packages
from trudi_rsl.command_line import Parser

if TYPE_CHECKING:
    from trudi_rsl.hosts.registry import HostTasks

WIDTH = 80
"""Characters of a line where the output is not a terminal."""

MOST_PATTERNS = 6
"""Patterns of names that are shown of a host that is not installed."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(__doc__, "tasks")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="parts of names (default: all tasks)")
    parser.add_argument("--host", help="only the tasks of one simulator, such as gymnasium or playground")
    return parser.parse_all(argv)


def main(argv: Sequence[str]) -> None:
    """Print the tasks of each host."""
    args = parse(argv)
    packages.require("Listing tasks", packages.CORE)
    from trudi_rsl.errors import ConfigError, nearest
    from trudi_rsl.hosts.registry import list_tasks

    listed = list_tasks()
    names = [entry.host.name for entry in listed]
    if args.host is not None and args.host not in names:
        raise ConfigError(f"Unknown host {args.host!r}. {nearest(args.host, names)}")
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    shown = [entry for entry in listed if args.host in (None, entry.host.name)]
    print("\n\n".join(describe(entry, args.texts, width) for entry in shown))


def describe(entry: HostTasks, texts: Sequence[str], width: int) -> str:
    """Return the lines on one host: its name, what is missing, and its tasks whose names contain one of the texts."""
    host = entry.host
    if not entry.installed:
        more = " and more" if len(host.patterns) > MOST_PATTERNS else ""
        claims = f" Its tasks: {', '.join(host.patterns[:MOST_PATTERNS])}{more}." if host.patterns else ""
        return textwrap.fill(f"{host.title} ({host.name}): not installed. {host.install.rstrip('.')}.{claims}", width)
    if entry.problem is not None:
        return textwrap.fill(f"{host.title} ({host.name}): {entry.problem}", width)
    names = chosen(entry.tasks, texts)
    count = f"{len(names)} of {len(entry.tasks)} tasks" if texts else f"{len(names)} tasks"
    reasons: dict[str, list[str]] = {}
    for name in chosen(entry.untrainable, texts):
        reasons.setdefault(entry.untrainable[name], []).append(name)
    left_out = "; ".join(f"{reason}: {', '.join(of)}" for reason, of in reasons.items())
    last = [textwrap.fill(f"Not trained here. {left_out}.", width, subsequent_indent="  ")] if left_out else []
    return "\n".join([f"{host.title} ({host.name}): {count}", *columns(names, width), *last])


def chosen(names: Iterable[str], texts: Sequence[str]) -> list[str]:
    """Return the names that contain one of the texts, all if there are none, in alphabetical order."""
    wanted = [text.lower() for text in texts]
    return sorted(name for name in names if not wanted or any(text in name.lower() for text in wanted))


def columns(names: Sequence[str], width: int) -> list[str]:
    """Return the names in columns, read from top to bottom."""
    if not names:
        return []
    cell = max(map(len, names)) + 2
    rows = -(-len(names) // max(1, (width - 2) // cell))
    return ["  " + "".join(f"{name:{cell}}" for name in names[row::rows]).rstrip() for row in range(rows)]
