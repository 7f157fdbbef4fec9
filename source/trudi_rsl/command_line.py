# SPDX-License-Identifier: BSD-3-Clause
"""How all scripts read their flags. Imports no torch, so that help and mistakes are told at once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from trudi_rsl.errors import ConfigError, nearest


class Parser(argparse.ArgumentParser):
    """An argument parser that abbreviates no flag, names the nearest of an unknown one, and whose errors are one line.

    Args:
        description: Shown by ``--help`` as it is.
        **kwargs: Of :class:`argparse.ArgumentParser`.
    """

    def __init__(self, description: str | None, **kwargs: Any) -> None:
        super().__init__(
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **kwargs,
        )

    @property
    def flags(self) -> list[str]:
        """All flags that there are."""
        return [option for action in self._actions for option in action.option_strings]

    def parse_all(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Return the values of all arguments, whose order is free; leave with exit code 2 if one is unknown.

        Args:
            argv: Arguments; None takes the command line's.
        """
        args, rest = self.parse_known_intermixed_args(argv)
        try:
            refuse_flags(rest, self.flags)
        except ConfigError as error:
            self.error(str(error))
        return args

    def error(self, message: str) -> NoReturn:
        """Print the message and leave with exit code 2."""
        advice = "" if "--help" in message else " (--help lists the flags)"
        self.exit(2, f"Error: {message}{advice}\n")


def require_new(*files: Path) -> None:
    """Refuse to write where something is.

    Raises:
        ConfigError: Naming the first file that exists.
    """
    for file in files:
        if os.path.lexists(file):
            raise ConfigError(f"{file} exists and was kept. Choose another --output, or delete it first.")


def refuse_flags(rest: Iterable[str], known: Iterable[str]) -> None:
    """Refuse flags among the arguments that are left when a script has taken its own.

    Raises:
        ConfigError: With the nearest flags.
    """
    flags = [flag for flag in known if flag.startswith("--")]
    for text in rest:
        if text.startswith("-"):
            flag = text.partition("=")[0]
            raise ConfigError(f"Unknown flag {flag}. {nearest(flag, flags, prefix='--')} --help lists them.")
