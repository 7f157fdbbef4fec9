# SPDX-License-Identifier: BSD-3-Clause
"""The program ``trudi``: choosing a subcommand, and reporting errors and interrupts as exit codes."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trudi_rsl import __version__
from trudi_rsl.errors import UserError, nearest, settings_as_overrides

COMMANDS = {
    "demo": "play a trained policy that comes with the package",
    "tasks": "list the tasks that can be trained here",
    "train": "train a policy, or continue a run",
    "play": "run a trained policy, record a video",
    "export": "write a policy as ONNX and TorchScript",
    "latency": "time exported policies",
    "plot": "draw learning curves",
    "doctor": "report what is wrong with a run, and which setting to change",
    "evaluate": "compare runs, with intervals over seeds and tasks",
    "sweep": "train and evaluate all runs of an experiment file",
    "modes": "count which of several good behaviours policies show",
    "chains": "draw the denoising chains of a policy",
    "docs": "list the pages of the documentation, or print one",
}
"""Subcommands, each the name of a module beside this one, and what they do."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, 128 + SIGINT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``trudi COMMAND ...`` and return its exit code; ``argv`` defaults to the process's arguments."""
    name, *arguments = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"trudi_rsl {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"Error: No command {name!r}. {nearest(name, COMMANDS)} trudi --help lists them.", file=sys.stderr)
        return 2
    # simulators read the process's arguments and expect flags
    sys.argv[1:] = arguments
    return run(name, arguments)


def usage() -> str:
    """Return the help text of the program."""
    lines = (f"  {name:10} {what}" for name, what in COMMANDS.items())
    return "\n".join(
        (
            "usage: trudi COMMAND [flags]",
            "",
            "Trust-region diffusion policies for RSL-RL.",
            "",
            *lines,
            "",
            "trudi COMMAND --help describes a command. A run is named by its folder, by a",
            "checkpoint in it, or by a folder above it.",
        )
    )


_COLORS = re.compile(r"\x1b\[[0-9;]*m")


@contextlib.contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Print warnings in the block without place and source line that raised them, and without Gymnasium's colors."""
    before = warnings.formatwarning

    def in_one_line(message: Warning | str, *_args: Any, **_kwargs: Any) -> str:
        return f"Warning: {re.sub(_COLORS, '', str(message)).removeprefix('WARN: ')}\n"

    warnings.formatwarning = in_one_line
    try:
        yield
    finally:
        warnings.formatwarning = before


def run(name: str, argv: Sequence[str]) -> int:
    """Run one subcommand and return its exit code.

    0 after success, 2 if the arguments cannot work, 1 if something else fails that a user can solve, each with one line
    on stderr, and 130 after Ctrl-C. A subcommand may return codes of its own.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or pipe of ASCII shows other letters as question marks
            stream.reconfigure(errors="replace")
    # modules in the working folder, such as a task's, can be named; installed ones come first
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        with settings_as_overrides(), warnings_in_one_line():
            return importlib.import_module(f"trudi_rsl.commands.{name}").main(list(argv)) or 0
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UserError, ImportError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
