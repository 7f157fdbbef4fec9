# SPDX-License-Identifier: BSD-3-Clause
"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import itertools
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from trudi_rsl.errors import CheckpointError

PICKLE, ARCHIVE = b"\x80", b"PK"
"""How pickles and torch's archives begin."""


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Yield a file to write, which takes the place of ``path`` once it is written and on the disk.

    Whatever stops the writing (a full disk, an error, the process's end) leaves an earlier file as it was.

    Args:
        path: Where the file goes; its folder is made if missing.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as file:  # never through a link that lies there
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def point(link: Path, target: Path) -> None:
    """Let a symbolic link name a file of its folder, in one step.

    Where the system has no links, or a file of the link's name lies, nothing is done.

    Args:
        link: The link, replaced if there is one.
        target: What it is to name.
    """
    if link.exists() and not link.is_symlink():
        return
    part = link.with_name(f".{link.name}.{os.getpid()}.part")
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
        part.symlink_to(target.name)
        part.replace(link)


def unused_stem(folder: Path, name: str, suffixes: Sequence[str]) -> str:
    """Return the first of ``name``, ``name_1``, ... that no file or link in ``folder`` has with any suffix."""
    stems = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1)))
    return next(stem for stem in stems if not any(os.path.lexists(folder / f"{stem}{suffix}") for suffix in suffixes))


def require_inside(folder: Path, run: Path) -> None:
    """Refuse to write into a folder of a run folder that is a link to somewhere else, as in one from somebody else.

    Args:
        folder: What is to be written to; it need not exist.
        run: The run folder, which may itself be reached by links.

    Raises:
        CheckpointError: If it leads out of the run folder.
    """
    if not folder.resolve().is_relative_to(run.resolve()):
        raise CheckpointError(f"{folder} is a link that leads out of the run folder, so nothing was written there.")


def is_whole(path: Path) -> bool:
    """Return whether a checkpoint's checksums are right: torch writes a zip archive with one for every part.

    Plain pickles, as torch wrote before version 1.6, have none and count as whole.
    """
    if not path.is_file():  # a device may have no end
        return False
    try:
        with path.open("rb") as file:
            if file.read(len(PICKLE)) == PICKLE:
                return True
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    # damaged headers raise whatever they lead to
    except Exception:
        return False


def _sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk; not every system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
