# SPDX-License-Identifier: BSD-3-Clause
"""One task under its several names."""

import pytest

from trudi_rsl.task_names import counterpart, family

NAMES_3_0 = ("Isaac-Velocity-Rough-G1", "Isaac-Velocity-Flat-AnymalD", "Isaac-Reorient-Cube-Shadow-Direct", "Isaac-Ant")
NAMES_2_3 = ("Isaac-Velocity-Rough-G1-v0", "Isaac-Velocity-Rough-G1-Play-v0", "Isaac-Ant-v0")


@pytest.mark.parametrize(
    ("written", "names", "play", "registered"),
    [
        ("Isaac-Velocity-Rough-G1-v0", NAMES_3_0, False, "Isaac-Velocity-Rough-G1"),
        ("Isaac-Velocity-Rough-G1-Play-v0", NAMES_3_0, False, "Isaac-Velocity-Rough-G1"),
        ("Isaac-Velocity-Flat-Anymal-D-v0", NAMES_3_0, False, "Isaac-Velocity-Flat-AnymalD"),
        ("Isaac-Repose-Cube-Shadow-Direct-v0", NAMES_3_0, False, "Isaac-Reorient-Cube-Shadow-Direct"),
        ("Isaac-Ant", NAMES_3_0, False, "Isaac-Ant"),
        ("Isaac-Humanoid-v0", NAMES_3_0, False, None),
        ("Isaac-Velocity-Rough-G1", NAMES_2_3, False, "Isaac-Velocity-Rough-G1-v0"),
        ("Isaac-Velocity-Rough-G1", NAMES_2_3, True, "Isaac-Velocity-Rough-G1-Play-v0"),
        ("Isaac-Velocity-Rough-G1-v0", NAMES_2_3, True, "Isaac-Velocity-Rough-G1-Play-v0"),
        ("Isaac-Velocity-Rough-G1-v0", NAMES_2_3, False, "Isaac-Velocity-Rough-G1-v0"),
        ("Isaac-Ant", NAMES_2_3, True, "Isaac-Ant-v0"),
    ],
)
def test_a_task_is_found_under_the_names_of_the_other_version_for_training_and_for_playing(
    written: str, names: tuple[str, ...], play: bool, registered: str | None
) -> None:
    assert counterpart(written, names, play) == registered


def test_different_tasks_have_different_families() -> None:
    names = [*NAMES_3_0, "Hopper-v5", "Isaac-Ant-Direct", "other:Isaac-Ant"]
    assert len({family(name) for name in names}) == len(names)
