# SPDX-License-Identifier: BSD-3-Clause
"""Wrong arguments are refused in one line, before a simulator starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.hosts.isaaclab_3_0.commands import ON_CPU, script
from trudi_rsl.commands.train import parse
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.isaaclab.launch_3_0 import check_env_names
from trudi_rsl.hosts.isaaclab.task import find_task, task_to_train

G1 = "Isaac-Velocity-Flat-G1"
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "args", "named"),
    [
        (f"{G1}-v0", (*ON_CPU, "physics=newton_mjwarp", "agent.algorithm.kl_bond=0.2"), ("kl_bond", "kl_bound")),
        ("Isaac-Velocity-Flat-G2-v0", ON_CPU, ("Isaac-Velocity-Flat-G2-v0", G1)),
        pytest.param(
            *("Isaac-Factory-PegInsert-Direct-v0", ON_CPU),
            ("IsaacContrib-Factory-PegInsert-Direct", "rl_games", "rsl_rl"),
            marks=pytest.mark.nightly,
        ),
        pytest.param(f"{G1}-v0", ("physics=newton_mjwarp",), ("--device cpu",), marks=(NO_GPU, pytest.mark.nightly)),
        pytest.param(G1, (*ON_CPU, "physics=isaacsim_physx"), ("isaacsim_physx", "newton_mjwarp"), marks=NO_GPU),
    ],
    ids=["unknown setting", "unknown task", "task without RSL-RL", "no GPU", "Isaac Sim without GPU"],
)
def test_wrong_arguments_are_refused(task: str, args: tuple[str, ...], named: tuple[str, ...], tmp_path: Path) -> None:
    done = script("train.py", "--task", task, *args, folder=tmp_path)
    assert done.returncode == 2, done.output
    error = done.output.strip().splitlines()[-1]
    assert error.startswith("Error: ")
    assert all(word in error for word in named), error
    assert "Traceback" not in done.output
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("play", [False, True], ids=["train", "play"])
@pytest.mark.parametrize(
    ("override", "wrong", "right"),
    [
        ("env.decimatoin=7", "'decimatoin' in env.", "decimation"),
        ("env.sim.dtt=0.01", "'dtt' in env.sim.", "dt"),
        (
            "env.rewards.track_lin_vel_xy_expp.weight=2.0",
            "'track_lin_vel_xy_expp' in env.rewards.",
            "track_lin_vel_xy_exp",
        ),
    ],
)
def test_a_setting_of_the_environment_that_isaac_lab_would_add_is_refused(
    override: str, wrong: str, right: str, play: bool
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_env_names(find_task(G1, "trudi"), ["env.scene.num_envs=4", override], play)
    assert wrong in str(caught.value)
    assert repr(right) in str(caught.value)


@pytest.mark.parametrize(
    ("override", "wanted"), [("env.decimation=often", "an integer"), ("env.sim.gravity=down", "a list of numbers")]
)
def test_text_that_isaac_lab_would_write_in_place_of_a_number_is_refused(override: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"must be {wanted}"):
        check_env_names(find_task(G1, "trudi"), [override])
    with pytest.raises(ConfigError, match="must be an integer"):
        task_to_train(*parse(["--task", G1, "--device", "cpu", "agent.max_iterations=many"]))


def test_a_setting_of_what_another_override_selects_is_allowed_with_it_only() -> None:
    task, of_physx = find_task(G1, "trudi"), "env.sim.physics.bounce_threshold_velocity=0.2"
    # a new key of a dictionary is no setting
    joint = "env.scene.robot.init_state.joint_pos.left_knee_joint=0.4"
    check_env_names(task, [joint, "env.scene.num_envs=4", "physics=isaacsim_physx", of_physx])
    with pytest.raises(ConfigError, match="bounce_threshold_velocity"):
        check_env_names(task, [joint, "env.scene.num_envs=4", of_physx])
