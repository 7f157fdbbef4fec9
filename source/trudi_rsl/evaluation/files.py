# SPDX-License-Identifier: BSD-3-Clause
"""Files that must not replace earlier ones, and pictures that may."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trudi_rsl.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def unused_stem(folder: Path, name: str, suffixes: Sequence[str]) -> str:
    """Return the first of ``name``, ``name_1``, ... that no file or link in ``folder`` has with any suffix."""
    stems = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1)))
    return next(stem for stem in stems if not any(os.path.lexists(folder / f"{stem}{suffix}") for suffix in suffixes))


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture of the format that its name ends in; a link of that name is replaced, not followed."""
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format=path.suffix.removeprefix("."))
