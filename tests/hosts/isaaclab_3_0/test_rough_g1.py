# SPDX-License-Identifier: BSD-3-Clause
"""Isaac-Velocity-Rough-G1, the task this project is for."""

import pytest

from tests.hosts.isaaclab_3_0.commands import SMALL_TERRAIN
from tests.hosts.isaaclab_3_0.g1 import G1Claims


@pytest.mark.slow
class TestRoughG1(G1Claims):
    task = "Isaac-Velocity-Rough-G1"
    settings = SMALL_TERRAIN
