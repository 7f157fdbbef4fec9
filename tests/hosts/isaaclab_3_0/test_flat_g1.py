# SPDX-License-Identifier: BSD-3-Clause
"""Isaac-Velocity-Flat-G1."""

import pytest

from tests.hosts.isaaclab_3_0.g1 import G1Claims


@pytest.mark.slow
class TestFlatG1(G1Claims):
    task = "Isaac-Velocity-Flat-G1"
