# SPDX-License-Identifier: BSD-3-Clause
"""Exports of robots whose torques Isaac Lab or Newton computes have all that can be read, and name what cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from isaaclab.actuators import ActuatorNetLSTMCfg, DCMotorCfg  # pyright: ignore[reportMissingImports]
from isaaclab.app import launch_simulation  # pyright: ignore[reportMissingImports]
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]

from trudi_rsl.deploy import Contract
from trudi_rsl.environments.description import describe_environment

pytestmark = pytest.mark.slow

TASK = "Isaac-Cartpole"
LIMITS = {"saturation_effort": 100.0, "actuator_effort_limit": 100.0, "actuator_velocity_limit": 100.0}


class Torques(torch.nn.Module):
    """A network in the place of one that was fitted to a drive, such as ANYmal's."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(2, 8, 2, batch_first=True)

    def forward(
        self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        y, state = self.lstm(x, state)
        return y[:, 0, 0], state


def describe(cart: Any) -> dict[str, Any]:
    """Return the metadata of cartpoles, Newton's actuators for the cart made from ``cart``."""
    import isaaclab_tasks  # noqa: F401  # pyright: ignore[reportMissingImports]

    cfg: Any = load_cfg_from_registry(TASK, "env_cfg_entry_point")
    cfg.scene.num_envs, cfg.sim.device, cfg.seed = 2, "cpu", 0
    names = [name for name in cfg.scene.robot.actuators if "cart" in name]
    cfg.scene.robot.actuators = {**cfg.scene.robot.actuators, **dict.fromkeys(names, cart)}
    with launch_simulation(cfg):
        env = RslRlVecEnvWrapper(gym.make(TASK, cfg=cfg))
        metadata = describe_environment(env, ["policy"])
        size = env.get_observations()["policy"].shape[-1]
        env.close()
    contract = Contract.from_metadata({"obs_dims": {"policy": size}, **metadata})
    assert contract.num_obs == size and contract.robot is not None and contract.actions
    return metadata


def test_gains_of_a_motor_model_are_read_from_newtons_controller() -> None:
    motor = DCMotorCfg(joint_names_expr=["slider_to_cart"], stiffness=40.0, damping=5.0, **LIMITS)
    metadata = describe(motor)
    robot = metadata["robot"]
    gains = dict(zip(robot["joint_names"], zip(robot["stiffness"], robot["damping"], strict=True), strict=True))
    assert gains == {"slider_to_cart": (40.0, 5.0), "cart_to_pole": (0.0, 0.0)}
    assert "unreadable" not in metadata


def test_a_network_has_no_gains_and_everything_else_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "drive.pt"
    torch.jit.save(torch.jit.script(Torques()), str(file))
    metadata = describe(ActuatorNetLSTMCfg(joint_names_expr=["slider_to_cart"], network_file=str(file), **LIMITS))
    assert set(metadata["robot"]) == {"joint_names", "default_joint_pos"}
    assert set(metadata["unreadable"]) == {"robot.stiffness", "robot.damping"}
    assert "could not be read: robot.stiffness (" in capsys.readouterr().out
