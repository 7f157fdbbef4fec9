# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportAttributeAccessIssue=false
"""A substitute for ANYmal-D: its names and rough dimensions, and a network in the place of that of its drives."""

from __future__ import annotations

import itertools
from pathlib import Path

import mujoco
import torch

from tests.hosts.isaaclab_3_0.assets.articulation import write_articulation

# By the letter in the names of links: the end (front, hind) and the side, with the sign of x and of y.
ENDS, SIDES = {"F": 1, "H": -1}, {"L": 1, "R": -1}
HEIGHT = 0.6  # of the base [m]
# Of the drives' network: stiffness [N m/rad] and damping [N m s/rad], which hold the robot up.
GAINS = (80.0, 2.0)


def write_anymal(path: Path) -> None:
    """Write a base with four legs of three joints, symmetric from left to right and from front to back."""
    legs = "".join(_leg(f"{side}{end}", ENDS[end], SIDES[side]) for end, side in itertools.product(ENDS, SIDES))
    xml = f"""<mujoco><compiler angle="radian" autolimits="true"/><worldbody>
        <body name="base" pos="0 0 {HEIGHT}"><freejoint/>
        <geom name="base" type="box" size=".27 .07 .12" mass="30"/>{legs}</body></worldbody></mujoco>"""
    write_articulation(mujoco.MjModel.from_xml_string(xml), path, "anymal")


def _leg(name: str, x: int, y: int) -> str:
    """Return a leg in MJCF at the corner of the base with these signs of x and y; lengths in m."""
    return f"""<body name="{name}_HIP" pos="{0.3 * x} {0.104 * y} 0">
        <joint name="{name}_HAA" axis="1 0 0" range="-.72 .72"/>
        <inertial pos="0 0 0" mass="2" diaginertia=".005 .005 .005"/>
        <body name="{name}_THIGH" pos="{0.06 * x} {0.08 * y} 0"><joint name="{name}_HFE" axis="0 1 0" range="-9.4 9.4"/>
        <geom name="{name}_THIGH" type="capsule" size=".03" fromto="0 {0.1 * y} -.06 0 {0.1 * y} -.2" mass="2.5"/>
        <body name="{name}_SHANK" pos="0 {0.1 * y} -.285"><joint name="{name}_KFE" axis="0 1 0" range="-9.4 9.4"/>
        <inertial pos="0 0 -.15" mass=".5" diaginertia=".004 .004 .0005"/>
        <body name="{name}_FOOT" pos="{0.088 * x} 0 -.32"><geom name="{name}_FOOT" size=".03" mass=".1"/>
        </body></body></body></body>"""


class DriveNetwork(torch.nn.Module):
    """An LSTM with the interface of Isaac Lab's ``ActuatorNetLSTM``, which adds a spring and a damper to its output.

    Its inputs are the error of a joint's position [rad] and the joint's velocity [rad/s], its output a torque [N m].
    """

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(2, 8, 2, batch_first=True)
        self.gains = torch.nn.Buffer(torch.tensor([GAINS[0], -GAINS[1]]))

    def forward(
        self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return torques ``[B]`` and the next state (hidden, cell) ``[2, B, 8]`` for inputs ``[B, 1, 2]``."""
        y, state = self.lstm(x, state)
        return x[:, 0] @ self.gains + y[:, 0, 0], state


def write_drive_network(path: Path) -> None:
    """Write a drive's network as TorchScript, the same in each call."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.jit.save(torch.jit.script(DriveNetwork()), str(path))
