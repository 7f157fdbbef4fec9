# SPDX-License-Identifier: BSD-3-Clause
"""The assets of the tests with real Isaac Lab."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hosts.environments import cache_folder, locked


@pytest.fixture(scope="session", autouse=True)
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the assets once for all workers, and let Isaac Lab read them."""
    # Imported here, so that a session without the host reaches its own error.
    from tests.hosts.isaaclab_3_0.assets.build import build_assets

    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "assets"
    with locked(root):
        if not root.exists():
            build_assets(root, cache_folder() / "mjcf")
    os.environ["ISAACSIM_ASSET_ROOT"] = str(root)
    return root
