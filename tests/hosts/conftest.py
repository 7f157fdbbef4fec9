# SPDX-License-Identifier: BSD-3-Clause
"""Collects the tests of the installed host; a host session fails if its host is missing."""

import importlib.metadata
import importlib.util
import os
from pathlib import Path

import pytest

from tests.hosts.environments import HOSTS, Host

SOURCE = Path(__file__).parents[2] / "source"
# Set by the nox session `hosts`, which must fail, not skip its tests, if the host is missing.
EXPECTED = os.environ.get("TRUDI_EXPECT_HOST")


def _installed(host: Host) -> bool:
    try:
        return importlib.metadata.version(host.distribution).startswith(host.series)
    except importlib.metadata.PackageNotFoundError:
        return False


collect_ignore = [name for name, host in HOSTS.items() if name != EXPECTED and not _installed(host)]


def pytest_configure() -> None:
    """Refuse a host session without its host, or with this checkout's sources instead of the installed package.

    Only the installed package has entry points and packaged presets.
    """
    if EXPECTED is None:
        return
    host = HOSTS[EXPECTED]
    if not _installed(host):
        raise pytest.UsageError(f"{EXPECTED}: {host.distribution} {host.series}* is not installed")
    spec = importlib.util.find_spec("trudi_rsl")
    if spec is None or spec.origin is None or Path(spec.origin).is_relative_to(SOURCE):
        raise pytest.UsageError(f"{EXPECTED}: trudi_rsl is not the installed package but {spec and spec.origin}")
