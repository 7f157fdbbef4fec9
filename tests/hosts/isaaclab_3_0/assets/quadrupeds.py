# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportAttributeAccessIssue=false
"""Stand-ins for Unitree's Go2 and ANYbotics' ANYmal-D, made from mjlab's model of the Go1."""

from __future__ import annotations

import warnings
from pathlib import Path

import mujoco
import numpy as np
import torch
from torch import Tensor, nn

from tests.hosts.isaaclab_3_0.assets.articulation import write_articulation
from tests.hosts.isaaclab_3_0.assets.mjcf import load, scale

LEGS = {"FR": "RF", "FL": "LF", "RR": "RH", "RL": "LH"}
"""Unitree's names of the legs, and ANYbotics'."""
LINKS = {"hip": ("HIP", "HAA"), "thigh": ("THIGH", "HFE"), "calf": ("SHANK", "KFE")}
"""Unitree's names of a leg's links, and ANYbotics' names of the links and their joints."""
ANYMAL_LENGTH, ANYMAL_MASS = 1.55, 3.0


def write_go2(mjcf: Path, path: Path) -> None:
    """Write a Go1 under Go2's names, with feet that are bodies of their own."""
    spec = load(mjcf)
    spec.body("trunk").name = "base"
    for leg in LEGS:
        collider = spec.geom(f"{leg}_foot_collision")
        centre = collider.fromto[:3] if np.isfinite(collider.fromto).all() else collider.pos
        _add_foot(spec.body(f"{leg}_calf"), f"{leg}_foot", list(centre), radius=0.023, mass=0.04)
        spec.delete(collider)
        for name in ("thigh_collision1", "thigh_collision2", "thigh_collision3", "calf_collision2", "hip_collision"):
            spec.delete(spec.geom(f"{leg}_{name}"))
    write_articulation(spec.compile(), path, "go2")


def write_anymal(mjcf: Path, path: Path, actuator_net: Path) -> None:
    """Write an enlarged Go1 under ANYmal-D's names, and a network in place of its learned actuator model."""
    spec = load(mjcf)
    spec.body("trunk").name = "base"
    for leg, name in LEGS.items():
        for link, (body, hinge) in LINKS.items():
            spec.body(f"{leg}_{link}").name = f"{name}_{body}"
            joint = spec.joint(f"{leg}_{link}_joint")
            joint.name, joint.range, joint.limited = f"{name}_{hinge}", [-3.1, 3.1], True
        for geom in [geom for geom in spec.geoms if geom.name.startswith(leg)]:
            spec.delete(geom)
        _add_foot(spec.body(f"{name}_SHANK"), f"{name}_FOOT", [0.0, 0.0, -0.213], radius=0.03, mass=0.2)
    scale(spec, ANYMAL_LENGTH, ANYMAL_MASS)
    write_articulation(spec.compile(), path, "anymal")
    actuator_net.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # Isaac Lab loads TorchScript, which torch has deprecated.
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(ActuatorNet()), str(actuator_net))


def _add_foot(shank: mujoco.MjsBody, name: str, position: list[float], radius: float, mass: float) -> None:
    inertia = 0.4 * mass * radius**2
    foot = shank.add_body(
        name=name, pos=position, mass=mass, inertia=[inertia] * 3, ipos=[0.0, 0.0, 0.0], explicitinertial=True
    )
    foot.add_geom(name=f"{name}_sphere", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[radius, 0.0, 0.0])


class ActuatorNet(nn.Module):
    """A proportional-derivative law with the interface of ANYbotics' LSTM, which it carries idle."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 8, 2, batch_first=True)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return torques [B] in N m from position error [rad] and velocity [rad/s], ``x`` [B, 1, 2]."""
        idle, state = self.lstm(x, state)
        return 80.0 * x[:, 0, 0] - 3.0 * x[:, 0, 1] + 0.0 * idle[:, 0, 0], state
