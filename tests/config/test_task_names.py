# SPDX-License-Identifier: BSD-3-Clause
"""One task under its several names."""

import pytest

from trudi_rsl.task_names import counterpart, family

NAMES_3_0 = ("Isaac-Velocity-Rough-G1", "Isaac-Velocity-Flat-AnymalD", "Isaac-Reorient-Cube-Shadow-Direct", "Isaac-Ant")
NAMES_2_3 = ("Isaac-Velocity-Rough-G1-v0", "Isaac-Velocity-Rough-G1-Play-v0", "Isaac-Ant-v0")


@pytest.mark.parametrize(
    ("written", "registered"),
    [
        ("Isaac-Velocity-Rough-G1-v0", "Isaac-Velocity-Rough-G1"),
        ("Isaac-Velocity-Rough-G1-Play-v0", "Isaac-Velocity-Rough-G1"),
        ("Isaac-Velocity-Flat-Anymal-D-v0", "Isaac-Velocity-Flat-AnymalD"),
        ("Isaac-Repose-Cube-Shadow-Direct-v0", "Isaac-Reorient-Cube-Shadow-Direct"),
        ("Isaac-Ant", "Isaac-Ant"),
        ("Isaac-Humanoid-v0", None),
    ],
)
def test_a_name_of_2_3_finds_its_task_in_3_0(written: str, registered: str | None) -> None:
    assert counterpart(written, NAMES_3_0) == registered


@pytest.mark.parametrize(
    ("written", "play", "registered"),
    [
        ("Isaac-Velocity-Rough-G1", False, "Isaac-Velocity-Rough-G1-v0"),
        ("Isaac-Velocity-Rough-G1", True, "Isaac-Velocity-Rough-G1-Play-v0"),
        ("Isaac-Velocity-Rough-G1-v0", True, "Isaac-Velocity-Rough-G1-Play-v0"),
        ("Isaac-Velocity-Rough-G1-v0", False, "Isaac-Velocity-Rough-G1-v0"),
        ("Isaac-Ant", True, "Isaac-Ant-v0"),
    ],
)
def test_a_name_of_3_0_finds_its_task_in_2_3_for_training_and_for_playing(
    written: str, play: bool, registered: str
) -> None:
    assert counterpart(written, NAMES_2_3, play) == registered


def test_different_tasks_have_different_families() -> None:
    names = [*NAMES_3_0, "Hopper-v5", "Isaac-Ant-Direct", "other:Isaac-Ant"]
    assert len({family(name) for name in names}) == len(names)
