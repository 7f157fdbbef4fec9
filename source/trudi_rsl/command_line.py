# SPDX-License-Identifier: BSD-3-Clause
"""Command-line parsing of all commands. Imports no torch, so that --help and errors are immediate."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from trudi_rsl.errors import ConfigError, nearest, similar

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

    def add_run(self) -> None:
        """Add what names the run of a command on one policy, by position or by flag; :func:`one_run` returns it."""
        self.add_argument("words", nargs="*", metavar="RUN", help="a checkpoint, a run folder or an experiment folder")
        self.add_argument("--checkpoint", metavar="RUN", help="the same")

    def parse_all(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments, positional ones anywhere among the flags; exit with code 2 if a flag is unknown."""
        self._refuse(flag for flag in _flags_in(argv) if flag not in self.flags)
        args, rest = self.parse_known_intermixed_args(argv)
        self._refuse(rest)
        return args

    def parse_some(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parse what is known and return the rest, which may hold flags of a simulator.

        Exits with code 2 if a required flag is missing, naming an unknown flag that looks like it.
        """
        given = _flags_in(argv)
        required = (set(action.option_strings) for action in self._actions if action.required)
        missing = {flag for options in required if not options & set(given) for flag in options}
        unknown = (flag for flag in given if flag not in self.flags)
        self._refuse(flag for flag in unknown if missing & set(similar(flag, self.flags, prefix="--")))
        return self.parse_known_args(argv)

    def _refuse(self, unparsed: Iterable[str]) -> None:
        """Exit with code 2 if one of a command's unparsed arguments is a flag."""
        try:
            refuse_flags(unparsed, self.flags)
        except ConfigError as error:
            self.error(str(error))

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


def refuse_flags(rest: Iterable[str], known: Iterable[str], settings: Iterable[str] = ()) -> None:
    """Refuse flags among a command's unparsed arguments.

    Raises:
        ConfigError: With the setting that the flag is named like, of ``settings`` such as ``agent.algorithm.kl_bound``,
            else with the nearest ``known`` flags.
    """
    flags = [flag for flag in known if flag.startswith("--")]
    for text in rest:
        if text.startswith("-"):
            flag = text.partition("=")[0]
            name = flag.lstrip("-").replace("-", "_")
            if setting := next((path for path in settings if path.rpartition(".")[2] == name), None):
                raise ConfigError(f"{flag} is no flag. Set it as {setting}=VALUE.")
            raise ConfigError(f"Unknown flag {flag}. {nearest(flag, flags, prefix='--')} --help lists them.")


def one_run(words: Sequence[str], checkpoint: str | None, example: str) -> str:
    """Return the run that a command on one policy is to use, named by position or by ``--checkpoint``.

    Raises:
        ConfigError: If none is named, or more than one; ``example`` is a command that names one.
    """
    named = [*words, *([] if checkpoint is None else [checkpoint])]
    if not named:
        raise ConfigError(f"Name a checkpoint, a run folder or an experiment folder: {example}")
    if len(named) > 1:
        raise ConfigError(f"This command takes one run, not {len(named)}: {', '.join(named)}.")
    return named[0]


def is_override(word: str) -> bool:
    """Return whether an argument is an override ``name=value`` and not a path with such a name."""
    name, equals, _ = word.partition("=")
    return bool(equals) and "/" not in name and not os.path.lexists(word)


def _flags_in(argv: Sequence[str]) -> list[str]:
    """Return the names of the long flags among arguments; what follows ``--`` is none."""
    arguments = argv[: argv.index("--")] if "--" in argv else argv
    return [text.partition("=")[0] for text in arguments if text.startswith("--")]
