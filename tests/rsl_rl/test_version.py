# SPDX-License-Identifier: BSD-3-Clause
"""The RSL-RL that the contract tests run against is the one their session asked for."""

import importlib.metadata
import os
from pathlib import Path

import rsl_rl


def test_the_imported_rsl_rl_is_the_version_this_session_expects() -> None:
    distribution = importlib.metadata.distribution("rsl-rl-lib")
    expected = os.environ.get("TRUDI_EXPECT_RSL_RL", distribution.version)

    assert distribution.version == expected
    assert Path(rsl_rl.__path__[0]).samefile(str(distribution.locate_file("rsl_rl")))
