# SPDX-License-Identifier: BSD-3-Clause
"""The assets of the tests with real Isaac Lab."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.hosts.environments import cache_folder, locked

ROOT = "ISAACSIM_ASSET_ROOT"
"""Variable that names the folder of the assets; Isaac Lab reads it when a test module first imports it."""

_is_worker = "PYTEST_XDIST_WORKER" in os.environ
if not _is_worker:
    # workers inherit it
    os.environ[ROOT] = str(Path(tempfile.mkdtemp(prefix="assets_")) / "assets")


@pytest.fixture(scope="session", autouse=True)
def assets() -> Path:
    """Build the assets once for all workers."""
    # Imported here, so that a session without the host reaches its own error.
    from tests.hosts.isaaclab_3_0.assets.build import build_assets

    root = Path(os.environ[ROOT])
    with locked(root):
        if not root.exists():
            build_assets(root, cache_folder() / "mjcf")
    return root


def pytest_unconfigure() -> None:
    """Delete the assets."""
    if not _is_worker:
        shutil.rmtree(Path(os.environ[ROOT]).parent, ignore_errors=True)
