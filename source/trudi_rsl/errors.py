# SPDX-License-Identifier: BSD-3-Clause
"""Errors a user of the package can meet, each with a message that says what to do."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path


class ConfigError(ValueError):
    """A configuration value or override that cannot work."""


class CheckpointError(RuntimeError):
    """A checkpoint of another task, algorithm, shape or format than the one it is loaded into."""


class NonFiniteError(RuntimeError):
    """NaN or infinity in the simulator's observations or rewards, or in the policy's actions."""


class ProcessLostError(RuntimeError):
    """Another process of the same training is gone, so this one cannot go on."""


@contextlib.contextmanager
def as_checkpoint_error(name: str | Path = "The checkpoint") -> Iterator[None]:
    """Convert the exceptions that inconsistent content of a checkpoint causes in the block to one kind.

    Args:
        name: Name of the checkpoint in the message.

    Raises:
        CheckpointError: For any exception.
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
    """Return a text from somebody else, such as a file's or a library's, as one line that a terminal only shows.

    Args:
        text: What ``str`` makes a text.
        longest: Characters that are kept.
    """
    line = " ".join(str(text).split())
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def nearest(name: str, known: Iterable[str], limit: int = 3, prefix: str = "") -> str:
    """Return a sentence naming the known names closest to ``name``, or all of them when none is close.

    Args:
        name: What the user wrote.
        known: The names that would have worked.
        limit: Largest number of suggestions.
        prefix: What all names begin with, which therefore makes none of them closer.
    """
    names = sorted(known)
    endings = [n.removeprefix(prefix) for n in names]
    close = [prefix + end for end in difflib.get_close_matches(name.removeprefix(prefix), endings, n=limit, cutoff=0.5)]
    if close:
        return f"Did you mean {', '.join(repr(c) for c in close)}?"
    return f"Known: {', '.join(names)}."
