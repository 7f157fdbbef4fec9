# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""The metadata of mjlab's G1 suffices to compute its observations and commands outside of mjlab."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mjlab.envs import ManagerBasedRlEnv
from mjlab.rl import RslRlVecEnvWrapper
from mjlab.tasks.registry import load_env_cfg

from tests.hosts.mjlab.running import CARTPOLE, FLAT
from trudi_rsl.deploy import Contract, Policy, export_checkpoint
from trudi_rsl.deploy.runtime import ObservationBuilder
from trudi_rsl.environments.description import describe_environment

HISTORY = 3


@pytest.fixture(scope="module")
def noiseless() -> RslRlVecEnvWrapper:
    """Flat G1s without noise, with a history, scales and clips."""
    cfg = load_env_cfg(FLAT)
    cfg.scene.num_envs = 2
    cfg.seed = 0
    group = cfg.observations["actor"]
    group.enable_corruption = False
    group.terms["joint_vel"].scale = 0.05
    group.terms["joint_vel"].clip = (-1.0, 1.0)
    group.terms["actions"].history_length = HISTORY
    return RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg, "cpu"))


def contract_of(env: RslRlVecEnvWrapper) -> Contract:
    size = env.get_observations()["actor"].shape[-1]
    return Contract.from_metadata({"obs_dims": {"actor": size}, **describe_environment(env, ["actor"])})


def test_the_terms_of_single_frames_build_the_whole_observation(noiseless: RslRlVecEnvWrapper) -> None:
    contract, base = contract_of(noiseless), noiseless.unwrapped
    builder = ObservationBuilder(contract.terms)
    obs, _ = noiseless.reset()
    manager = base.observation_manager
    cfgs = dict(zip(manager.active_terms["actor"], manager._group_obs_term_cfgs["actor"], strict=True))
    for step in range(5):
        frames = {name: cfg.func(base, **cfg.params)[0].numpy() for name, cfg in cfgs.items()}
        np.testing.assert_allclose(builder.build(frames), obs["actor"][0].numpy(), atol=1e-6, err_msg=f"step {step}")
        builder.keep()
        obs, *_ = noiseless.step(0.3 * torch.randn(2, 29))
    clipped = {term.name: term for term in contract.terms}["joint_vel"]
    assert (clipped.clip, clipped.scale) == ((-1.0, 1.0), 0.05)
    assert clipped.function == "joint_vel_rel"
    assert contract.num_obs == obs["actor"].shape[-1]


def test_actions_command_what_mjlab_sets(g1: RslRlVecEnvWrapper) -> None:
    contract, manager = contract_of(g1), g1.unwrapped.action_manager
    (action,) = contract.actions
    drawn = torch.randn(1, 29)
    manager.process_action(drawn.expand(g1.num_envs, -1))
    term = manager.get_term("joint_pos")
    np.testing.assert_allclose(action.commands(drawn[0].numpy()), term._processed_actions[0].numpy(), rtol=1e-5)
    assert action.kind == "JointPositionAction" and action.limits is not None
    ranges = g1.unwrapped.scene["robot"].data.joint_pos_limits[0].numpy()
    for end in (0, 1):
        np.testing.assert_allclose(action.commands(action.limits[end]), ranges[:, end], atol=1e-5)


def test_the_robots_gains_and_pose_are_those_of_the_simulated_model(g1: RslRlVecEnvWrapper) -> None:
    robot, model = contract_of(g1).robot, g1.unwrapped.sim.mj_model
    assert robot is not None and len(robot.joint_names) == 29
    assert robot.stiffness is not None and robot.damping is not None and robot.default_joint_pos is not None
    for i, name in enumerate(robot.joint_names):
        joint = model.joint(f"robot/{name}").id
        (actuator,) = np.flatnonzero(model.actuator_trnid[:, 0] == joint)
        assert robot.stiffness[i] == pytest.approx(model.actuator_gainprm[actuator, 0], rel=1e-5)
        assert robot.damping[i] == pytest.approx(-model.actuator_biasprm[actuator, 2], rel=1e-5)
    default = g1.unwrapped.scene["robot"].data.default_joint_pos[0].numpy()
    np.testing.assert_allclose(robot.default_joint_pos, default)


def test_a_checkpoint_exports_with_its_robot_and_without_mjlabs_environment(flat_run: Path, tmp_path: Path) -> None:
    checkpoint = max(flat_run.glob("model_*.pt"), key=lambda path: path.stat().st_mtime_ns)
    report = export_checkpoint(checkpoint, tmp_path)
    contract = Policy(report.onnx).contract
    assert contract.control_period_s == pytest.approx(0.02)
    assert report.deploy_yaml is not None
    content = yaml.safe_load(report.deploy_yaml.read_text())
    assert list(content["observations"]) == [
        *("base_lin_vel", "base_ang_vel", "projected_gravity"),
        *("joint_pos_rel", "joint_vel_rel", "last_action", "velocity_commands"),
    ]
    assert list(content["actions"]) == ["JointPositionAction"]
    assert set(content["commands"]["base_velocity"]["ranges"]) >= {"lin_vel_x", "lin_vel_y", "ang_vel_z"}
    assert "base_lin_vel" in report.deploy_yaml.read_text().split("joint_ids_map")[0], "the runner cannot observe it"


def test_efforts_have_no_gains() -> None:
    env = RslRlVecEnvWrapper(ManagerBasedRlEnv(load_env_cfg(CARTPOLE), "cpu"))
    metadata = describe_environment(env, ["actor"])
    assert [action["kind"] for action in metadata["actions"]] == ["JointEffortAction"]
    assert set(metadata["robot"]["stiffness"]) == {0.0}
