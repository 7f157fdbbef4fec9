# SPDX-License-Identifier: BSD-3-Clause
"""A folder like an unpacked release of ONNX Runtime: the wheel's library, and headers that a package of npm has."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import onnxruntime
import pytest

HEADERS_PACKAGE = "com.github.asus4.onnxruntime@0.4.9"
"""The library of any later version goes with its headers."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "trudi_rsl" / "onnxruntime_headers_0.4.9"


def make_root(folder: Path) -> Path:
    """Fill ``folder`` with ``include`` and ``lib``; skips the test where there is neither compiler nor npm."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("needs cmake and a C++ compiler")
    (folder / "lib").mkdir(parents=True)
    (folder / "include").symlink_to(_headers(folder))
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / "lib" / name).symlink_to(library)
    return folder


def _headers(scratch: Path) -> Path:
    """Return a folder with ONNX Runtime's headers, fetched once per machine."""
    if not CACHE.is_dir():
        if shutil.which("npm") is None:
            pytest.skip("needs npm, which has ONNX Runtime's headers")
        subprocess.run(["npm", "pack", HEADERS_PACKAGE], cwd=scratch, check=True, capture_output=True)
        (archive,) = scratch.glob("*.tgz")
        part = CACHE.with_suffix(f".{os.getpid()}")
        part.mkdir(parents=True)
        with tarfile.open(archive) as content:
            for member in content.getmembers():
                path = Path(member.name)
                if path.suffix == ".h" and "ios-arm64_x86_64-simulator" in path.parts:
                    content.extract(member.replace(name=path.name), part, filter="data")
        part.replace(CACHE)
    return CACHE
