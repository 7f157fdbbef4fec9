# SPDX-License-Identifier: BSD-3-Clause
"""Names for files that must not replace earlier ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path


def unused_stem(folder: Path, name: str, suffixes: Sequence[str]) -> str:
    """Return the first of ``name``, ``name_1``, ``name_2``, ... that no file in ``folder`` has with any suffix."""
    stems = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1)))
    return next(stem for stem in stems if not any((folder / f"{stem}{suffix}").exists() for suffix in suffixes))
