# SPDX-License-Identifier: BSD-3-Clause
"""Isaac-Velocity-Rough-G1 with Isaac Lab's commands and with this project's scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from tests.hosts.isaaclab_3_0 import commands
from tests.hosts.isaaclab_3_0.commands import SMALL, TRUDI_AGENT, Done, check_exports_act_as
from trudi_rsl.algorithms import TruDiCfg, load_actor_critic
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.config.presets import task_preset
from trudi_rsl.deploy import Policy, export_checkpoint

pytestmark = pytest.mark.slow

TASK = "Isaac-Velocity-Rough-G1"
KL_BOUND = 0.2
TWO = ("--max_iterations", "2")


SMALL_ON_CPU = (
    *(*commands.ON_CPU, "physics=newton_mjwarp"),
    *(*commands.FEW_STEPS, *commands.SMALL_TRUDI, *commands.SMALL_TERRAIN),
)


def stock(command: str, *args: str | Path, folder: Path, until: Path | None = None) -> Done:
    """Run ``isaaclab train`` or ``isaaclab play``."""
    agent = ("--rl_library", "rsl_rl", "--task", TASK, "--agent", TRUDI_AGENT)
    return commands.isaaclab(command, *agent, *SMALL_ON_CPU, *args, folder=folder, until=until)


def ours(name: str, *args: str | Path, folder: Path) -> Done:
    """Run ``scripts/<name>`` with the task's name in Isaac Lab 2.3."""
    return commands.script(name, "--task", f"{TASK}-v0", "--headless", *SMALL_ON_CPU, *args, folder=folder)


@pytest.fixture(scope="module")
def stock_run(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Train two iterations with Isaac Lab's command and one override."""
    return stock("train", *TWO, f"agent.algorithm.kl_bound={KL_BOUND}", folder=tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module")
def our_run(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Train two iterations with our script, the old task name and one override."""
    return ours("train.py", *TWO, f"agent.algorithm.kl_bound={KL_BOUND}", folder=tmp_path_factory.mktemp("ours"))


def check_settings(done: Done) -> None:
    """Check that the run folder and the checkpoint have the settings of the preset and the override."""
    assert done.returncode == 0, done.output
    preset = task_preset(TASK, "isaaclab")["agent"]["algorithm"]
    expected = TruDiCfg.from_dict(preset | SMALL | {"kl_bound": KL_BOUND}).to_dict()
    _policy, spec = load_actor_critic(done.checkpoint)
    for saved in (TruDiCfg.from_dict(spec["settings"]).to_dict(), done.agent["algorithm"]):
        assert {name: saved[name] for name in expected} == expected
    assert set(done.agent["algorithm"]) == {"class_name", *TruDiCfg().to_dict()}


def test_isaac_labs_command_trains_with_the_preset_and_overrides_plays_and_exports(stock_run: Done) -> None:
    check_settings(stock_run)
    checkpoint = stock_run.checkpoint
    exported = checkpoint.parent / "exported" / "policy.onnx"
    done = stock("play", "--checkpoint", checkpoint, folder=stock_run.folder, until=exported)
    assert "Traceback" not in done.output, done.output
    check_exports_act_as(checkpoint)


def test_the_checkpoint_describes_the_robot_without_the_simulator(stock_run: Done, tmp_path: Path) -> None:
    report = export_checkpoint(stock_run.checkpoint, tmp_path)
    contract = Policy(report.onnx).contract
    assert contract.control_period_s == pytest.approx(0.02)
    names = [term.name for term in contract.terms]
    assert names[:3] == ["base_lin_vel", "base_ang_vel", "projected_gravity"]
    assert "height_scan" in names
    robot = contract.robot
    assert robot is not None and len(robot.joint_names) == 37
    assert robot.stiffness is not None and robot.damping is not None and robot.default_joint_pos is not None
    gains = dict(zip(robot.joint_names, zip(robot.stiffness, robot.damping, strict=True), strict=True))
    # Isaac Lab's G1_CFG
    joints = ("left_hip_pitch_joint", "right_hip_yaw_joint", "right_ankle_roll_joint", "left_elbow_pitch_joint")
    assert [gains[joint] for joint in joints] == [(200.0, 5.0), (150.0, 5.0), (20.0, 2.0), (40.0, 10.0)]
    pose = dict(zip(robot.joint_names, robot.default_joint_pos.tolist(), strict=True))
    assert (pose["left_knee_joint"], pose["right_one_joint"]) == pytest.approx((0.42, -1.0))
    (action,) = contract.actions
    assert (action.joint_names, action.joint_ids) == (robot.joint_names, tuple(range(37)))
    assert set(action.scale.tolist()) == {0.5}
    assert action.offset.tolist() == robot.default_joint_pos.tolist()
    assert report.deploy_yaml is not None
    content = yaml.safe_load(report.deploy_yaml.read_text())
    assert set(content["commands"]["base_velocity"]["ranges"]) >= {"lin_vel_x", "lin_vel_y", "ang_vel_z"}
    assert content["observations"]["velocity_commands"]["params"] == {"command_name": "base_velocity"}


@pytest.mark.nightly
def test_isaac_labs_command_resumes(stock_run: Done) -> None:
    before, checkpoint = iterations(stock_run), stock_run.checkpoint
    done = stock("train", *TWO, "--checkpoint", checkpoint, folder=stock_run.folder)
    assert done.returncode == 0, done.output
    assert done.run_folder != checkpoint.parent
    assert iterations(done) > before
    first, second = (read_checkpoint(path)["env_progress"] for path in (checkpoint, done.checkpoint))
    steps = first["counters"]["common_step_counter"]
    assert steps > 0 and second["counters"]["common_step_counter"] == 2 * steps
    assert f"common_step_counter {steps}" in done.output
    assert "mean terrain level" in done.output and "terrain_levels" in first


def test_our_script_trains_under_the_old_name_with_the_same_settings_plays_and_exports(our_run: Done) -> None:
    check_settings(our_run)
    assert f"{TASK}-v0 is {TASK}" in our_run.output
    done = ours("play.py", "--episodes", "2", "--sampler", "ode", folder=our_run.folder)
    assert done.returncode == 0, done.output
    check_exports_act_as(our_run.checkpoint)
    exported = our_run.checkpoint.parent / "exported"
    assert sorted(path.name for path in exported.iterdir()) == ["policy.onnx", "policy.pt"]


def test_our_script_resumes_the_newest_run(our_run: Done) -> None:
    before, run_folder = iterations(our_run), our_run.run_folder
    done = ours("train.py", "--more_iterations", "2", "--resume", folder=our_run.folder)
    assert done.returncode == 0, done.output
    assert done.run_folder != run_folder
    assert iterations(done) > before


def iterations(done: Done) -> int:
    """Return the iteration of the newest checkpoint."""
    return torch.load(done.checkpoint, weights_only=False)["iter"]
