# SPDX-License-Identifier: BSD-3-Clause
"""Writing files atomically, and never through links that lead elsewhere."""

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
"""First bytes of pickles and of torch's archives."""


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Yield a file that replaces ``path`` once it is written and synced to the disk.

    Its folder is made if missing. If anything stops the writing (a full disk, an error, the end of the process), an
    earlier file is kept.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    try:
        part.unlink(missing_ok=True)
        with part.open("xb") as file:  # fails instead of following a link
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    # not every system can open a folder
    with contextlib.suppress(OSError):
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def point_link(link: Path, target: Path) -> None:
    """Point a symbolic link at a file of its folder, atomically; do nothing without links, or if ``link`` is a file."""
    if link.exists() and not link.is_symlink():
        return
    part = _part(link)
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
        part.symlink_to(target.name)
        part.replace(link)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def unused_stem(folder: Path, name: str, suffixes: Sequence[str]) -> str:
    """Return the first of ``name``, ``name_1``, ... that no file or link in ``folder`` has with any suffix."""
    stems = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1)))
    return next(stem for stem in stems if not any(os.path.lexists(folder / f"{stem}{suffix}") for suffix in suffixes))


def require_inside(folder: Path, run: Path) -> None:
    """Refuse to write into a folder of a run folder that is a link to elsewhere, as in a run folder from someone else.

    The folder need not exist, and the run folder itself may be reached by links.

    Raises:
        CheckpointError: If ``folder`` is outside of the run folder.
    """
    if not folder.resolve().is_relative_to(run.resolve()):
        raise CheckpointError(f"{folder} is a link that leads out of the run folder, so nothing was written there.")


def starts_as_checkpoint(path: Path) -> bool:
    """Return whether a file's first bytes are those of a checkpoint."""
    with path.open("rb") as file:
        return file.read(len(ARCHIVE)).startswith((PICKLE, ARCHIVE))


def is_whole(path: Path) -> bool:
    """Return whether the checksums of a checkpoint's archive are right.

    Plain pickles, which torch wrote before version 1.6, have none and count as whole.
    """
    if not path.is_file():  # a device may have no end
        return False
    try:
        with path.open("rb") as file:
            if file.read(len(PICKLE)) == PICKLE:
                return True
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # damaged headers may raise anything
        return False
