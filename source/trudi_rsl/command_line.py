# SPDX-License-Identifier: BSD-3-Clause
"""Command-line parsing of all commands. Imports no torch, so that --help and errors are immediate."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from trudi_rsl.errors import ConfigError, nearest

PROGRAM = (sys.executable, "-m", "trudi_rsl")
"""The command ``trudi``, for a process of its own."""


class Parser(argparse.ArgumentParser):
    """An argument parser without abbreviations, with one-line errors that name the flags nearest to an unknown one.

    ``--help`` shows the description unchanged.

    Args:
        description: What the command does.
        command: Its name, after ``trudi``.
        **kwargs: Further arguments of :class:`argparse.ArgumentParser`.
    """

    def __init__(self, description: str | None, command: str, **kwargs: Any) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        names = {"prog": f"trudi {command}", "description": description}
        super().__init__(**names, allow_abbrev=False, formatter_class=formatter, **kwargs)

    def add_former_names(self) -> None:
        """Add the flag of :func:`~trudi_rsl.task_names.register_former_names`."""
        self.add_argument(
            "--task_was",
            action="append",
            default=[],
            metavar="OLD=NEW",
            help="a task that has moved to another module: its name in checkpoints, and now (default: --task)",
        )

    @property
    def flags(self) -> list[str]:
        """All flags."""
        return [option for action in self._actions for option in action.option_strings]

    def parse_all(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse all arguments, positional ones anywhere among the flags; exit with code 2 if a flag is unknown."""
        args, rest = self.parse_known_intermixed_args(argv)
        try:
            refuse_flags(rest, self.flags)
        except ConfigError as error:
            self.error(str(error))
        return args

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        advice = "" if "--help" in message else " (--help lists the flags)"
        self.exit(2, f"Error: {message}{advice}\n")


def require_new(*files: Path, flag: str = "--output") -> None:
    """Raise a ConfigError that names the first of the files that exists, so that nothing is overwritten.

    ``flag`` is the one that sets their place.
    """
    for file in files:
        if os.path.lexists(file):
            raise ConfigError(f"{file} exists and was kept. Choose another {flag}, or delete it first.")


def refuse_flags(rest: Iterable[str], known: Iterable[str]) -> None:
    """Raise a ConfigError with the nearest ``known`` flags if one of a command's unparsed arguments is a flag."""
    flags = [flag for flag in known if flag.startswith("--")]
    for text in rest:
        if text.startswith("-"):
            flag = text.partition("=")[0]
            raise ConfigError(f"Unknown flag {flag}. {nearest(flag, flags, prefix='--')} --help lists them.")
