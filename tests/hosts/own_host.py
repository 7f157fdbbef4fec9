# SPDX-License-Identifier: BSD-3-Clause
"""Installing packages with hosts, without pip: what is on the path are a distribution's metadata and its modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from trudi_rsl.hosts import registry

EXAMPLE = Path(__file__).parents[2] / "exts" / "point_mass_host"


def write_metadata(folder: Path, distribution: str, hosts: Mapping[str, str], version: str = "0.1.0") -> None:
    """Write the metadata of a distribution whose entry points are hosts: name to ``module:object``."""
    info = folder / f"{distribution}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    entries = "\n".join(f"{name} = {value}" for name, value in hosts.items())
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entries}\n" if hosts else "")


@contextmanager
def installed(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> Iterator[None]:
    """Read hosts anew, with the distributions and modules in ``folders`` installed."""
    for folder in folders:
        monkeypatch.syspath_prepend(folder)
    registry.hosts.cache_clear()
    try:
        yield
    finally:
        monkeypatch.undo()
        registry.hosts.cache_clear()
        for name, module in list(sys.modules.items()):
            if any(Path(getattr(module, "__file__", None) or ".").is_relative_to(folder) for folder in folders):
                del sys.modules[name]
