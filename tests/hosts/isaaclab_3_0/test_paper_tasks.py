# SPDX-License-Identifier: BSD-3-Clause
"""The other tasks of the paper's Isaac Lab suite train with their presets, by their names in Isaac Lab 2.3."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts.isaaclab_3_0.commands import FEW_STEPS, ON_CPU, SMALL, SMALL_TERRAIN, SMALL_TRUDI, script
from trudi_rsl.algorithms import TruDiCfg, load_actor_critic
from trudi_rsl.config.presets import task_preset


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "sizes", "settings"),
    [
        pytest.param("Isaac-Velocity-Flat-G1-v0", (123, 37), (), marks=pytest.mark.nightly),
        pytest.param("Isaac-Velocity-Flat-H1-v0", (69, 19), (), marks=pytest.mark.nightly),
        pytest.param("Isaac-Velocity-Rough-H1-v0", (256, 19), SMALL_TERRAIN, marks=pytest.mark.nightly),
        pytest.param("Isaac-Repose-Cube-Allegro-Direct-v0", (124, 16), (), marks=pytest.mark.nightly),
        ("Isaac-Repose-Cube-Shadow-Direct-v0", (157, 20), ()),
    ],
)
def test_a_task_of_the_paper_trains_with_its_preset(
    task: str, sizes: tuple[int, int], settings: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = (*ON_CPU, "physics=newton_mjwarp", *FEW_STEPS, *SMALL_TRUDI, *settings)
    done = script("train.py", "--task", task, "--max_iterations", "1", *arguments, folder=tmp_path)
    assert done.returncode == 0, done.output
    policy, spec = load_actor_critic(done.checkpoint)
    preset = task_preset(task, "isaaclab")["agent"]["algorithm"]
    assert preset["value_range"] != "auto"
    assert TruDiCfg.from_dict(spec["settings"]) == TruDiCfg.from_dict(preset | SMALL)
    assert (policy.actor.num_obs, policy.actor.num_actions) == sizes
