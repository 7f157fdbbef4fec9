# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Skips ManiSkill's tests on a machine where its renderer finds no Vulkan device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.hosts.software_vulkan import MISSING
from trudi_rsl.hosts.maniskill.make import has_vulkan_device

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder as skipped, with the reason, if there is no device."""
    if has_vulkan_device():
        return
    skip = pytest.mark.skip(reason=os.environ.get(MISSING, "no Vulkan device that SAPIEN can use"))
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(skip)
