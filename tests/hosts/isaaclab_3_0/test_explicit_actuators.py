# SPDX-License-Identifier: BSD-3-Clause
"""Exports of robots whose torques Isaac Lab or Newton computes have all that can be read, and name what cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.hosts.isaaclab_3_0.assets.anymal import write_drive_network
from tests.hosts.isaaclab_3_0.in_process import make
from trudi_rsl.deploy import Contract
from trudi_rsl.environments.description import describe_environment

pytestmark = pytest.mark.slow

LIMITS = {"saturation_effort": 100.0, "actuator_effort_limit": 100.0, "actuator_velocity_limit": 100.0}


def describe(actuator: str, **settings: Any) -> dict[str, Any]:
    """Return the metadata of cartpoles whose carts have an actuator of Isaac Lab by the name of its configuration."""

    def change(cfg: Any) -> None:
        from isaaclab import actuators  # pyright: ignore[reportMissingImports]

        cart = getattr(actuators, actuator)(joint_names_expr=["slider_to_cart"], **LIMITS, **settings)
        others = {name: pole for name, pole in cfg.scene.robot.actuators.items() if "cart" not in name}
        cfg.scene.robot.actuators = {"cart": cart, **others}

    with make("Isaac-Cartpole", 2, change) as env:
        metadata = describe_environment(env, ["policy"])
        size = env.get_observations()["policy"].shape[-1]
    contract = Contract.from_metadata({"obs_dims": {"policy": size}, **metadata})
    assert contract.num_obs == size and contract.robot is not None and contract.actions
    return metadata


def test_gains_of_a_motor_model_are_read_from_newtons_controller() -> None:
    metadata = describe("DCMotorCfg", stiffness=40.0, damping=5.0)
    robot = metadata["robot"]
    gains = dict(zip(robot["joint_names"], zip(robot["stiffness"], robot["damping"], strict=True), strict=True))
    assert gains == {"slider_to_cart": (40.0, 5.0), "cart_to_pole": (0.0, 0.0)}
    assert "unreadable" not in metadata


def test_a_network_has_no_gains_and_everything_else_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "drive.pt"
    write_drive_network(file)
    metadata = describe("ActuatorNetLSTMCfg", network_file=str(file))
    assert set(metadata["robot"]) == {"joint_names", "default_joint_pos"}
    assert set(metadata["unreadable"]) == {"robot.stiffness", "robot.damping"}
    assert "could not be read: robot.stiffness (" in capsys.readouterr().out
