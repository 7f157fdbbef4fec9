# SPDX-License-Identifier: BSD-3-Clause
"""Errors a user of the package can meet, each with a message that says what to do."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import ClassVar


class UserError(Exception):
    """A problem that the user can solve: its message is one line that says how, and needs no traceback."""

    exit_status: ClassVar[int] = 1
    """Exit status of a command that it ends."""


class ConfigError(UserError, ValueError):
    """A configuration value or override that cannot work."""

    exit_status = 2


class CheckpointError(UserError, RuntimeError):
    """A run or checkpoint that does not exist, or is of another task, algorithm, shape or format than asked for."""

    exit_status = 2


class NonFiniteError(UserError, RuntimeError):
    """NaN or infinity in the simulator's observations or rewards, or in the policy's actions."""


class TaskError(UserError, RuntimeError):
    """Something from an environment that no algorithm can use, such as rewards of another shape."""


class ProcessLostError(UserError, RuntimeError):
    """Another process of the same training is gone, so this one cannot go on."""


@contextlib.contextmanager
def as_checkpoint_error(name: str | Path = "The checkpoint") -> Iterator[None]:
    """Convert any exception, as inconsistent content of a checkpoint may cause, to a CheckpointError.

    Args:
        name: Name of the checkpoint in the message.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # a number in place of a list may raise anything anywhere
        raise CheckpointError(
            f"{name} contradicts itself or does not fit ({type(error).__name__}: {one_line(error)}). Use "
            "another one, or the settings that it was trained with."
        ) from error


def one_line(text: object, longest: int = 300) -> str:
    """Return ``str(text)``, from a file or library, as one printable line of at most ``longest`` characters."""
    try:
        words = str(text).split()
    except Exception:  # an exception of others may have no text
        words = [type(text).__name__]
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(words))
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def similar(name: str, known: Iterable[str], limit: int = 3, prefix: str = "") -> list[str]:
    """Return the known names that differ from ``name`` in upper and lower case alone, else the ``limit`` closest.

    ``prefix`` is a common prefix of all names, ignored in the comparison.
    """
    names = sorted(known)
    if same := [other for other in names if other.lower() == name.lower()]:
        return same
    endings = [other.removeprefix(prefix) for other in names]
    close = difflib.get_close_matches(name.removeprefix(prefix), endings, n=limit, cutoff=0.5)
    return [prefix + ending for ending in close]


def nearest(name: str, known: Iterable[str], limit: int = 3, prefix: str = "", at_most: int = 100) -> str:
    """Return a sentence naming the known names closest to ``name``, or all of them when none is close.

    Args:
        name: What the user wrote.
        known: The valid names.
        limit: Largest number of suggestions.
        prefix: Common prefix of all names, ignored in the comparison.
        at_most: Largest number of names when none is close.
    """
    names = sorted(known)
    if close := similar(name, names, limit, prefix):
        return f"Did you mean {', '.join(map(repr, close))}?"
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return f"Known: {', '.join(names[:at_most])}{more}."


_users_write_overrides: ContextVar[bool] = ContextVar("users_write_overrides", default=False)


@contextlib.contextmanager
def settings_as_overrides() -> Iterator[None]:
    """Let :func:`setting` write overrides inside the block, which is a command whose users set values in that way."""
    token = _users_write_overrides.set(True)
    try:
        yield
    finally:
        _users_write_overrides.reset(token)


@contextlib.contextmanager
def naming_settings() -> Iterator[None]:
    """Let a ConfigError of the block that begins with ``algorithm.name`` begin with :func:`setting` of it instead."""
    try:
        yield
    except ConfigError as error:
        text = re.sub(r"^algorithm(\.\w+)+", lambda name: setting(name[0]), str(error))
        raise ConfigError(text) from error


def setting(name: str, value: str = "") -> str:
    """Return how the user writes a setting of the runner's configuration, and a value for it if one is passed.

    That is an override, ``agent.algorithm.kl_bound=0.2``, inside of :func:`settings_as_overrides`, and otherwise a key
    of the dict that RSL-RL's runner takes, ``train_cfg["algorithm"]["kl_bound"] = 0.2``.

    Args:
        name: Path of the setting, ``algorithm.kl_bound``.
        value: In Python's spelling, as ``0.2``, ``[-1.0, 1.0]`` or ``'auto'``.
    """
    if _users_write_overrides.get():
        spelled = {"True": "true", "False": "false", "None": "null"}.get(value, re.sub(r"[\s'\"]", "", value))
        return f"agent.{name}" + (f"={spelled}" if value else "")
    keys = "".join(f'["{part}"]' for part in name.split("."))
    return f"train_cfg{keys}" + (f" = {value}" if value else "")
