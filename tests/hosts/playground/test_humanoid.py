# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Unitree's G1 on stand-in meshes: training with an asymmetric critic, its description, and the exported policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.hosts.mjlab.running import assert_acts_as
from tests.hosts.playground.plain import PlainMuJoCo, largest_differences, lively_checkpoint
from tests.hosts.playground.running import ENVS, G1, LENGTH, train
from trudi_rsl.algorithms import load_actor_critic
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.deploy import Policy, export_checkpoint
from trudi_rsl.deploy.contract import Contract
from trudi_rsl.hosts.playground import PlaygroundVecEnv

pytestmark = pytest.mark.slow

QUIET = {"noise_config.level": 0.0, "push_config.enable": False}
"""Neither noise nor pushes, which only the training simulator has."""


@pytest.fixture(scope="module")
def env(menagerie: Path) -> PlaygroundVecEnv:
    return PlaygroundVecEnv(G1, ENVS, episode_length=LENGTH, menagerie=str(menagerie), config=QUIET)


@pytest.fixture(scope="module", params=["trudi", "ppo"])
def run(
    request: pytest.FixtureRequest, menagerie: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The algorithm and the run folder of two iterations."""
    quiet = (f"env.config.{name}={value}" for name, value in QUIET.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp(request.param))
        yield request.param, train(G1, request.param, f"env.menagerie={menagerie}", *quiet)


def test_both_algorithms_train_with_a_privileged_critic(run: tuple[str, Path]) -> None:
    algo, folder = run
    spec = read_checkpoint(folder / "model_1.pt")["trudi_rsl"]
    assert spec["obs_dims"]["policy"] == 103
    if algo == "trudi":
        assert spec["obs_groups"] == {"actor": ["policy"], "critic": ["privileged"]}


def test_the_export_describes_observations_commands_and_robot(env: PlaygroundVecEnv, run: tuple[str, Path]) -> None:
    algo, folder = run
    if algo != "trudi":
        pytest.skip("one algorithm is enough")
    exported = export_checkpoint(folder / "model_1.pt").onnx
    assert_acts_as(exported, folder / "model_1.pt")
    described = env.describe(["policy"])
    contract = Contract.from_metadata({"obs_dims": {"policy": 103}, **described})
    assert [(term.name, term.size) for term in contract.terms] == [
        *(("linvel", 3), ("gyro", 3), ("gravity", 3), ("command", 3)),
        *(("joint_angles - default_pose", 29), ("joint_vel", 29), ("last_act", 29), ("phase", 4)),
    ]
    model = env.loaded.env.mj_model
    (action,), robot = contract.actions, contract.robot
    assert robot is not None and robot.stiffness is not None and robot.damping is not None
    joints = [model.joint(i).name for i in range(1, model.njnt)]
    assert list(action.joint_names) == list(robot.joint_names) == joints
    np.testing.assert_allclose(action.scale, 0.5, atol=1e-5)
    np.testing.assert_allclose(action.offset, model.keyframe("knees_bent").qpos[7:], atol=1e-5)
    np.testing.assert_allclose(robot.stiffness, model.actuator_gainprm[:, 0], rtol=1e-5)
    np.testing.assert_allclose(robot.damping, model.dof_damping[6:], rtol=1e-5)
    assert robot.damping.min() > 0.0


def lift(env: PlaygroundVecEnv, height: float) -> None:
    """Lift the robots [m]: on the ground, MJX keeps fewer corners of a foot than MuJoCo, so contacts differ."""
    state = env._simulation.unpack(env._carry.state)
    data = state.data.replace(qpos=state.data.qpos.at[:, 2].add(height))
    env._carry = env._carry._replace(state=env._simulation.pack(state.replace(data=data)))


def test_plain_mujoco_moves_the_g1_in_flight_with_the_exported_policy(
    env: PlaygroundVecEnv, run: tuple[str, Path], tmp_path: Path
) -> None:
    algo, folder = run
    if algo != "trudi":
        pytest.skip("one algorithm is enough")
    checkpoint = lively_checkpoint(folder, tmp_path)
    policy, (original, _) = Policy(export_checkpoint(checkpoint).onnx), load_actor_critic(checkpoint)
    assert policy.contract.robot is not None
    env.seed(0)
    lift(env, 1.5)
    plain = PlainMuJoCo(env, tmp_path)
    phase, last, now = plain.info["phase"], np.zeros(29), np.zeros(29)
    joints, default = policy.contract.robot.joint_names, policy.contract.robot.default_joint_pos
    imu = plain.model.site("imu_in_pelvis").id

    def step_plain() -> np.ndarray:
        nonlocal phase, last, now
        frames = {
            "linvel": plain.sensor("local_linvel_pelvis"),
            "gyro": plain.sensor("gyro_pelvis"),
            "gravity": -plain.data.site_xmat[imu].reshape(3, 3)[2],
            "command": plain.info["command"],
            "joint_angles - default_pose": plain.data.qpos[7:] - default,
            "joint_vel": plain.data.qvel[6:],
            # Playground's observation of a step has the action before that step's.
            "last_act": last,
            "phase": np.concatenate([np.cos(phase), np.sin(phase)]),
        }
        seen = np.concatenate([frames[term.name] for term in policy.contract.terms])
        if now.any():
            phase = np.mod(phase + plain.info["phase_dt"] + np.pi, 2.0 * np.pi) - np.pi
        last, now = now, policy(frames)
        targets = policy.joint_commands(now)
        plain.step(np.array([targets[name] for name in joints]))
        return seen

    differences, actions = largest_differences(env, original, step_plain, 15)
    assert actions.std() > 0.1, "the policy must act on what it sees"
    assert differences.max() < 0.1, differences
