# SPDX-License-Identifier: BSD-3-Clause
"""The flag ``--nightly``, and stand-ins for the meshes of robots."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts.playground.standins import write_standins


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="also run the tests that compile every task")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nightly: compiles many tasks, which takes minutes; runs with --nightly")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--nightly"):
        for item in items:
            if "nightly" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs --nightly"))


@pytest.fixture(scope="session")
def menagerie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stand-in for every mesh of G1 and T1."""
    return write_standins(tmp_path_factory.mktemp("menagerie"))
