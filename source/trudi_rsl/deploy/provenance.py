# SPDX-License-Identifier: BSD-3-Clause
"""What produced a result: package versions, git commit and machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trudi_rsl import __version__

PACKAGES = ("torch", "rsl-rl-lib", "gymnasium", "mujoco", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python, this package and, if installed, the packages that a result depends on."""
    found = {"python": platform.python_version(), "trudi_rsl": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the git commit of this checkout, followed by ``+`` if files differ from it; None outside a checkout."""
    git = ("git", "-C", str(Path(__file__).parent))
    try:
        head = subprocess.run((*git, "rev-parse", "HEAD"), capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run((*git, "status", "--porcelain"), capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # no git, or installed from a wheel
        return None
    return head + ("+" if changed.strip() else "")


def machine() -> str:
    """Return the processor's name and the number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or 'unknown processor'}, {os.cpu_count()} cores"


def provenance() -> dict[str, Any]:
    """Return ``versions`` and ``commit`` as entries for a result file."""
    return {"versions": versions(), "commit": commit()}
