# SPDX-License-Identifier: BSD-3-Clause
"""The registry of modes."""

from __future__ import annotations

import numpy as np
import pytest

from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation import modes as behaviour_modes
from trudi_rsl.tasks import BehaviourModes, find_modes, register_modes


def test_a_projects_task_can_register_its_modes_under_any_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behaviour_modes, "_REGISTRY", {})
    modes = BehaviourModes(("up", "down"), lambda _: 0, {}, lambda o: o, lambda o: o[:, 0], "Height (m)")
    register_modes("my-tasks/Hill-v3", modes)
    for name in ("my-tasks/Hill-v3", "my-tasks/Hill-v4", f"{__name__}:my-tasks/Hill-v3"):
        assert find_modes(name) is modes
    with pytest.raises(ConfigError, match="'no_such' of task 'no_such:Hill-v3'"):
        find_modes("no_such:Hill-v3")
    with pytest.raises(ConfigError, match=r"'Hopper-v5', only for my-tasks/Hill\..*register_modes"):
        find_modes("Hopper-v5")


def test_a_circle_is_a_polygon_at_its_radius() -> None:
    corners = behaviour_modes.circle((1.0, 2.0), 0.5)
    np.testing.assert_allclose(np.hypot(*(corners - (1.0, 2.0)).T), 0.5)
