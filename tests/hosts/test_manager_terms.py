# SPDX-License-Identifier: BSD-3-Clause
"""Descriptions of managers have every part that can be read."""

from __future__ import annotations

from typing import Any

from trudi_rsl.hosts.manager_terms import readable


def test_one_unreadable_part_costs_no_other() -> None:
    robot: Any = object()
    unreadable: dict[str, str] = {}
    parts = {
        "joint_names": lambda: ["hip"],
        "stiffness": lambda: robot.stiffness,
        "damping": lambda: [1.0],
        "motor_names": lambda: None,
    }
    assert readable(parts, unreadable, "robot.") == {"joint_names": ["hip"], "damping": [1.0]}
    assert [*unreadable] == ["robot.stiffness"]
    assert "AttributeError" in unreadable["robot.stiffness"] and "\n" not in unreadable["robot.stiffness"]
