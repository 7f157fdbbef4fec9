# SPDX-License-Identifier: BSD-3-Clause
"""Stand-ins for the meshes of robots."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts.playground.standins import write_standins


@pytest.fixture(scope="session")
def menagerie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stand-in for every mesh of G1 and T1."""
    return write_standins(tmp_path_factory.mktemp("menagerie"))
