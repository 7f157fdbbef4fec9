# SPDX-License-Identifier: BSD-3-Clause
"""A checkpoint describes its environment, and its contract means the same on the robot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml

from tests.deploy.drift import GOOD, DriftEnv, changed, make_trained, ppo_cfg, runner_cfg
from trudi_rsl.deploy import Contract, ContractError, ObservationTerm, Policy, export_checkpoint
from trudi_rsl.deploy.contract import as_numbers
from trudi_rsl.deploy.deploy_yaml import deploy_yaml
from trudi_rsl.environments.description import describe_environment
from trudi_rsl.hosts.manager_terms import joint_action_kind
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

ROBOT = {
    "joint_names": ["hip", "knee", "ankle"],
    "motor_names": ["ankle", "spare", "hip", "knee"],
    "default_joint_pos": [0.1, 0.2, 0.3],
    "stiffness": [10.0, 20.0, 30.0],
    "damping": [1.0, 2.0, 3.0],
}
ACTION: dict[str, Any] = {
    "name": "joint_pos",
    "kind": "JointPositionAction",
    "joint_names": ["hip", "knee", "ankle"],
    "joint_ids": [0, 1, 2],
    "scale": [0.5, 0.25, 1.0],
    "offset": [0.1, 0.2, 0.3],
    "clip": None,
    "limits": [[-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]],
}
TERMS = [
    {"name": "gyro", "size": 3, "scale": 0.2, "history": 2, "function": "base_ang_vel"},
    {"name": "command", "size": 3, "function": "generated_commands", "params": {"command_name": "twist"}},
    {"name": "joint_vel", "size": 3, "scale": [0.05, 0.1, 0.2], "clip": [-10.0, 10.0], "function": "joint_vel_rel"},
    {"name": "heights", "size": 2, "function": "height_scan"},
]
METADATA: dict[str, Any] = {
    "task": "Leg-v0",
    "algorithm": "TruDi",
    "obs_dims": {"policy": 14},
    "obs_terms": TERMS,
    "control_period_s": 0.02,
    "commands": {"twist": {"lin_vel_x": [-0.5, 1.0], "lin_vel_y": [-0.3, 0.3], "ang_vel_z": [-1.0, 1.0]}, "gait": {}},
    "actions": [ACTION],
    "robot": ROBOT,
}


def read_yaml(**changes: Any) -> tuple[dict[str, Any], str]:
    text = deploy_yaml(METADATA | changes)
    assert text is not None
    return yaml.safe_load(text), text


def test_gains_are_in_motor_order_and_everything_else_in_joint_order() -> None:
    content, text = read_yaml()
    assert content["joint_ids_map"] == [2, 3, 0]
    for name in ("stiffness", "damping"):
        assert [content[name][motor] for motor in content["joint_ids_map"]] == ROBOT[name]
        assert content[name][1] == 0.0, "a motor without a joint"
    assert content["default_joint_pos"] == ROBOT["default_joint_pos"]
    joints = {name: ACTION[name] for name in ("clip", "joint_names", "scale", "offset")}
    assert content["actions"] == {"JointPositionAction": joints | {"joint_ids": None}}
    assert content["step_dt"] == 0.02
    assert "order of the motors" not in text
    unnamed, text = read_yaml(robot={k: v for k, v in ROBOT.items() if k != "motor_names"})
    assert (unnamed["joint_ids_map"], unnamed["stiffness"]) == ([0, 1, 2], ROBOT["stiffness"])
    assert "order of the motors" in text


def test_observations_have_the_runners_names_in_the_policys_order() -> None:
    content, text = read_yaml()
    assert list(content["observations"]) == ["base_ang_vel", "velocity_commands", "joint_vel_rel", "heights"]
    gyro, command, velocity, _ = content["observations"].values()
    assert gyro == {"params": {}, "clip": None, "scale": [0.2, 0.2, 0.2], "history_length": 2}
    assert command["params"] == {"command_name": "base_velocity"}
    assert (velocity["scale"], velocity["clip"]) == ([0.05, 0.1, 0.2], [-10.0, 10.0])
    assert content["commands"] == {"base_velocity": {"ranges": METADATA["commands"]["twist"]}}
    assert "runner does not have: heights. Add it there" in text


def test_actions_of_some_joints_name_them() -> None:
    some = ACTION | {"joint_names": ["knee"], "joint_ids": [1], "scale": [1.0], "offset": [0.0], "clip": [[-1.0, 1.0]]}
    content, text = read_yaml(actions=[some | {"kind": "JointEffortAction", "limits": None}])
    action = content["actions"]["JointEffortAction"]
    assert (action["joint_ids"], action["clip"]) == ([1], [[-1.0, 1.0]])
    assert "heights, JointEffortAction" in text


@pytest.mark.parametrize("missing", ["stiffness", "default_joint_pos"])
def test_what_could_not_be_read_of_a_robot_is_left_out_of_deploy_yaml_and_named_at_its_top(missing: str) -> None:
    robot = {name: value for name, value in ROBOT.items() if name != missing}
    content, text = read_yaml(robot=robot, unreadable={f"robot.{missing}": "a network computes\nthe torques"})
    complete, _ = read_yaml()
    assert content == {name: value for name, value in complete.items() if name != missing}
    head = text.splitlines()[1:3]
    assert f"needed by unitree_rl_lab's runner: {missing}" in head[0]
    assert head[1] == f"# robot.{missing} could not be read: a network computes the torques"


@pytest.mark.parametrize("missing", ["robot", "actions", "control_period_s", "obs_dims"])
def test_without_robot_or_period_there_is_no_deploy_yaml(missing: str) -> None:
    assert deploy_yaml({name: value for name, value in METADATA.items() if name != missing}) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"actions": [ACTION, ACTION]}, "only one JointPositionAction"),
        ({"obs_terms": [*TERMS, TERMS[0] | {"name": "second gyro"}]}, "only one base_ang_vel"),
        ({"robot": ROBOT | {"motor_names": ["hip", "ankle"]}}, "names no motor for knee"),
    ],
)
def test_a_contract_that_deploy_yaml_cannot_express_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        deploy_yaml(METADATA | changes)


@pytest.mark.slow
@pytest.mark.parametrize("motors", [ROBOT["motor_names"], ["hip"]])
def test_the_checkpoints_description_is_in_the_onnx_file_and_where_possible_in_deploy_yaml(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, motors: list[str]
) -> None:
    runner = make_trained(OnPolicyRunner)
    terms = [{"name": "joints", "size": 5, "function": "joint_pos_rel"}, {"name": "base", "size": 2, "history": 2}]
    robot = ROBOT | {"motor_names": motors}
    about = {**METADATA, "obs_terms": terms, "obs_dims": {"joints": 5, "base": 4}, "robot": robot}
    runner.alg.spec["environment"] = about
    runner.save(str(tmp_path / "model_0.pt"))
    report = export_checkpoint(tmp_path / "model_0.pt")
    if motors == ["hip"]:
        assert report.deploy_yaml is None
        assert any("no motor for knee, ankle" in str(warning.message) for warning in recwarn)
    else:
        assert report.deploy_yaml is not None
        assert list(yaml.safe_load(report.deploy_yaml.read_text())["observations"]) == ["joint_pos_rel", "base"]
    contract = Policy(report.onnx).contract
    assert contract.robot is not None and contract.robot.motor_names == tuple(motors)
    assert [(term.name, term.total) for term in contract.terms] == [("joints", 5), ("base", 4)]
    assert contract.action_low is not None
    np.testing.assert_allclose(contract.action_low, DriftEnv.action_low, atol=1e-6)


def test_only_terms_that_set_joints_by_offset_and_scale_are_joint_actions() -> None:
    class JointAction: ...

    class JointPositionAction(JointAction): ...

    class MyJointPositionAction(JointPositionAction): ...

    class RelativeJointPositionAction(JointAction): ...

    assert joint_action_kind(MyJointPositionAction()) == "JointPositionAction"
    assert joint_action_kind(RelativeJointPositionAction()) is None


def test_joint_limits_bound_a_policy_without_bounds() -> None:
    own, no_limits = {"action_low": [-9.0] * 3, "action_high": [9.0] * 3}, {"actions": [ACTION | {"limits": None}]}
    for changes, expected in (({}, ACTION["limits"]), (own, [[-9.0] * 3, [9.0] * 3]), (no_limits, [None, None])):
        contract = Contract.from_metadata(METADATA | changes)
        bounds = (contract.action_low, contract.action_high)
        assert [values if values is None else values.tolist() for values in bounds] == expected


@pytest.mark.skipif(not PPO_MODELS, reason="rebuilding PPO's policy needs rsl-rl-lib 5")
def test_an_unbounded_policys_file_holds_the_joint_limits_as_bounds(tmp_path: Path) -> None:
    runner = OnPolicyRunner(DriftEnv(), ppo_cfg(), log_dir=None, device="cpu")
    assert runner._policy_spec is not None
    runner._policy_spec["environment"] = {"actions": [ACTION]}
    runner.save(str(tmp_path / "model_0.pt"))
    file = export_checkpoint(tmp_path / "model_0.pt").onnx
    found = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
    # the C++ example reads these
    assert [json.loads(found[name]) for name in ("action_low", "action_high")] == ACTION["limits"]


def test_commands_of_an_action_are_scaled_offset_and_clipped(exported: Path, tmp_path: Path) -> None:
    clip = [[-9.0, 9.0], [-9.0, 9.0], [0.0, 0.31]]
    policy = Policy(changed(exported, tmp_path, actions=[ACTION | {"clip": clip}]))
    assert policy.last_action.tolist() == [0.0, 0.0, 0.0]
    action = policy(GOOD)
    assert np.array_equal(policy.last_action, action)
    commands = policy.joint_commands(np.array([2.0, -4.0, 0.5], np.float32))
    assert commands == pytest.approx({"hip": 1.1, "knee": -0.8, "ankle": 0.31})
    policy.reset()
    assert policy.last_action.tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ContractError, match="which joints"):
        Policy(exported).joint_commands(action)
    one = {name: ACTION[name][:1] for name in ("joint_names", "joint_ids", "scale", "offset")}
    half = ACTION | one | {"limits": None}
    with pytest.raises(ContractError, match="3 actions, its metadata describes 1"):
        Policy(changed(exported, tmp_path, actions=[half]))


def test_float32_values_become_the_shortest_numbers_that_mean_the_same() -> None:
    assert as_numbers(np.array([[0.1, 20.0], [-1e-7, 1 / 3]], np.float32)) == [[0.1, 20.0], [-1e-7, 0.33333334]]


def test_a_gymnasium_checkpoint_exports_its_control_period(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    cfg = runner_cfg() | {"obs_groups": {"actor": ["policy"], "critic": ["policy"]}}
    env = make_env("HalfCheetah-v5", {"num_envs": 2}, seed=1)
    OnPolicyRunner(env, cfg, log_dir=None, device="cpu").save(str(tmp_path / "model_0.pt"))
    contract = Policy(export_checkpoint(tmp_path / "model_0.pt").onnx).contract
    assert contract.control_period_s == pytest.approx(5 * 0.01)
    assert contract.terms == (ObservationTerm("policy", 17),)


def test_an_environment_without_description_trains_and_exports(tmp_path: Path) -> None:
    make_trained(OnPolicyRunner).save(str(tmp_path / "model_0.pt"))
    report = export_checkpoint(tmp_path / "model_0.pt")
    assert report.deploy_yaml is None
    assert Policy(report.onnx).contract.control_period_s is None


def test_unreadable_managers_give_a_warning_and_training_continues(capsys: pytest.CaptureFixture[str]) -> None:
    class ActionManager:
        active_terms = ("joint_pos",)

    ActionManager.__module__ = "isaaclab.managers.action_manager"
    env: Any = DriftEnv()
    assert describe_environment(env, ["joints"]) == {}
    env.action_manager, env.step_dt = ActionManager(), 0.02
    described = describe_environment(env, ["joints"])
    assert set(described) == {"control_period_s", "unreadable"}
    assert set(described["unreadable"]) == {"obs_terms", "commands", "actions", "robot"}
    (warning,) = capsys.readouterr().out.splitlines()
    assert "get_term" in warning
