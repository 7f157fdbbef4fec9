# SPDX-License-Identifier: BSD-3-Clause
"""Collects the tests of dm_control where it is installed; its session fails if it is missing."""

import importlib.util
import os

collect_ignore_glob = (
    ["test_*.py"]
    if importlib.util.find_spec("dm_control") is None and not os.environ.get("TRUDI_EXPECT_DM_CONTROL")
    else []
)
