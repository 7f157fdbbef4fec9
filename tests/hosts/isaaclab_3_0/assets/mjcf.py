# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportAttributeAccessIssue=false
"""Changes to MuJoCo models that several robots share."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

SIDES = ("left", "right")
# Corners of a sole in the frame of its ankle, without the height [m].
SOLE = ((0.11, 0.025), (0.11, -0.025), (-0.045, 0.02), (-0.045, -0.02))
KEPT_COLLIDERS = ("torso_collision", "head_collision")


def load(path: Path) -> mujoco.MjSpec:
    """Read an MJCF file and keep what needs no other file: bodies, joints and primitive colliders."""
    spec = mujoco.MjSpec.from_file(str(path))
    for geom in list(spec.geoms):
        visual = geom.classname is not None and "visual" in geom.classname.name
        if geom.type == mujoco.mjtGeom.mjGEOM_MESH or visual:
            spec.delete(geom)
    for elements in (
        spec.meshes, spec.sensors, spec.actuators, spec.excludes, spec.keys, spec.lights, spec.cameras,
    ):  # fmt: skip
        for element in list(elements):
            spec.delete(element)
    return spec


def delete_joints(spec: mujoco.MjSpec, *names: str) -> None:
    """Weld bodies to their parents."""
    for name in names:
        spec.delete(spec.joint(name))


def scale(spec: mujoco.MjSpec, length: float, mass: float) -> None:
    """Enlarge a robot, and multiply its masses."""
    for body in spec.bodies:
        body.pos, body.ipos = body.pos * length, body.ipos * length
        body.mass, body.inertia = body.mass * mass, body.inertia * mass * length**2
    for geom in spec.geoms:
        geom.pos, geom.size = geom.pos * length, geom.size * length
        if np.isfinite(geom.fromto).all():
            geom.fromto = geom.fromto * length


def reduce_humanoid_colliders(spec: mujoco.MjSpec) -> None:
    """Leave torso and head, and four spheres under each foot: within the flat tasks' few contacts."""
    for geom in list(spec.geoms):
        if geom.name not in KEPT_COLLIDERS:
            spec.delete(geom)
    for side in SIDES:
        for corner, (x, y) in enumerate(SOLE):
            spec.body(f"{side}_ankle_roll_link").add_geom(
                name=f"{side}_foot{corner}",
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                size=[0.01, 0.0, 0.0],
                pos=[x, y, -0.025],
            )


def fuse(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Compile a humanoid whose bodies without a joint become part of their parent.

    The waist keeps the torso's name, which tasks look for, when it swallows the torso.
    """
    swapped = {"torso_link": "waist_yaw_link", "waist_yaw_link": "torso_link"}
    bodies = {body: swapped[body.name] for body in spec.bodies if body.name in swapped}
    for number, body in enumerate(bodies):
        body.name = f"renamed_{number}"
    for body, name in bodies.items():
        body.name = name
    spec.compiler.fusestatic = True
    return spec.compile()


def lowest_sole(model: mujoco.MjModel, height: float, joint_positions: dict[str, float]) -> float:
    """Return the height of the lowest foot sphere above the ground [m] at a root height [m] and joint angles [rad]."""
    data = mujoco.MjData(model)
    data.qpos[:] = 0.0
    data.qpos[2:4] = height, 1.0
    for name, angle in joint_positions.items():
        data.qpos[model.joint(name).qposadr[0]] = angle
    mujoco.mj_kinematics(model, data)
    feet = [geom for geom in range(model.ngeom) if "_foot" in model.geom(geom).name]
    return float(min(data.geom_xpos[geom][2] - model.geom_size[geom][0] for geom in feet))
