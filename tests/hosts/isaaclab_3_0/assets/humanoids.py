# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportAttributeAccessIssue=false
"""Stand-ins for Unitree's G1 and H1, made from mjlab's model of the G1."""

from __future__ import annotations

import math
from pathlib import Path

import mujoco
import numpy as np

from tests.hosts.isaaclab_3_0.assets.articulation import write_articulation

SIDES = ("left", "right")
# Corners of a sole in the frame of its ankle, without the height [m].
SOLE = ((0.11, 0.025), (0.11, -0.025), (-0.045, 0.02), (-0.045, -0.02))
KEPT_COLLIDERS = ("torso_collision", "head_collision")
# Isaac Lab's G1_MINIMAL_CFG: height of the pelvis [m] and angles of each leg [rad] at the start of an episode.
G1_HEIGHT = 0.74
G1_LEG = {"hip_pitch": -0.20, "knee": 0.42, "ankle_pitch": -0.23}
# Clearance of the soles at the start of an episode [m].
CLEARANCE = 0.003
H1_LENGTH, H1_MASS = 1.42, 1.5


def write_g1(mjcf: Path, path: Path) -> None:
    """Write a G1 with the 37 joints of G1_MINIMAL_CFG: 12 in the legs, the torso, 10 in the arms, 14 in the fingers."""
    spec = _load(mjcf)
    spec.joint("waist_yaw_joint").name = "torso_joint"
    _delete_joints(spec, "waist_roll_joint", "waist_pitch_joint")
    for side in SIDES:
        spec.joint(f"{side}_elbow_joint").name = f"{side}_elbow_pitch_joint"
        spec.body(f"{side}_elbow_link").name = f"{side}_elbow_pitch_link"
        spec.joint(f"{side}_wrist_roll_joint").name = f"{side}_elbow_roll_joint"
        spec.body(f"{side}_wrist_roll_link").name = f"{side}_elbow_roll_link"
        _delete_joints(spec, f"{side}_wrist_pitch_joint", f"{side}_wrist_yaw_joint")
        palm = spec.body(f"{side}_wrist_yaw_link")
        palm.name = f"{side}_palm_link"
        _add_fingers(palm, side)
    _reduce_colliders(spec)
    # mjlab's G1 is taller than Isaac Lab's start pose allows for: episodes would begin deep in the ground.
    pose = {f"{side}_{joint}_joint": angle for side in SIDES for joint, angle in G1_LEG.items()}
    too_long = CLEARANCE - _lowest_sole(spec.compile(), G1_HEIGHT, pose)
    for side in SIDES:
        ankle = spec.body(f"{side}_ankle_pitch_link")
        ankle.pos = [*ankle.pos[:2], ankle.pos[2] + too_long / math.cos(G1_LEG["hip_pitch"] + G1_LEG["knee"])]
    write_articulation(_fuse(spec), path, "g1")


def _add_fingers(palm: mujoco.MjsBody, side: str) -> None:
    """Give a palm a thumb of three small links and two fingers of two; nothing collides with them."""
    left = side == "left"

    def link(
        parent: mujoco.MjsBody, name: str, position: list[float], axis: list[float], low: float, high: float
    ) -> mujoco.MjsBody:
        body = parent.add_body(
            name=f"{side}_{name}_link", pos=position, mass=0.03, inertia=[1e-5] * 3, ipos=[0.02, 0.0, 0.0],
            explicitinertial=True,
        )  # fmt: skip
        body.add_joint(
            name=f"{side}_{name}_joint", type=mujoco.mjtJoint.mjJNT_HINGE, axis=axis, limited=True,
            range=[low, high] if left else [-high, -low],
        )  # fmt: skip
        return body

    y, z = [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
    thumb = link(palm, "zero", [0.06, 0.0, 0.02], y, -0.52, 0.52)
    thumb = link(thumb, "one", [0.02, 0.01 if left else -0.01, 0.0], z, -1.0, 1.2)
    link(thumb, "two", [0.03, 0.0, 0.0], z, -0.1, 1.84)
    for (lower, upper), height in ((("three", "four"), 0.02), (("five", "six"), -0.02)):
        finger = link(palm, lower, [0.12, -0.02 if left else 0.02, height], z, -1.84, 0.3)
        link(finger, upper, [0.03, 0.0, 0.0], z, -1.84, 0.1)


def write_h1(mjcf: Path, path: Path) -> None:
    """Write a robot with H1's 19 joints: a G1 without wrists and ankle rolls, enlarged to H1's rough size."""
    spec = _load(mjcf)
    spec.joint("waist_yaw_joint").name = "torso"
    _delete_joints(spec, "waist_roll_joint", "waist_pitch_joint")
    for side in SIDES:
        welded = ("ankle_roll", "wrist_roll", "wrist_pitch", "wrist_yaw")
        _delete_joints(spec, *(f"{side}_{name}_joint" for name in welded))
        turning = [f"{part}_{axis}" for part in ("hip", "shoulder") for axis in ("pitch", "roll", "yaw")]
        for name in (*turning, "knee", "elbow"):
            spec.joint(f"{side}_{name}_joint").name = f"{side}_{name}"
        spec.joint(f"{side}_ankle_pitch_joint").name = f"{side}_ankle"
        spec.body(f"{side}_ankle_pitch_link").name = f"{side}_ankle_link"
    _reduce_colliders(spec)
    _scale(spec, H1_LENGTH, H1_MASS)
    write_articulation(_fuse(spec), path, "h1")


def _load(path: Path) -> mujoco.MjSpec:
    """Read an MJCF file and keep what needs no other file: bodies, joints and primitive colliders."""
    spec = mujoco.MjSpec.from_file(str(path))
    for geom in list(spec.geoms):
        visual = geom.classname is not None and "visual" in geom.classname.name
        if geom.type == mujoco.mjtGeom.mjGEOM_MESH or visual:
            spec.delete(geom)
    for kind in ("meshes", "sensors", "actuators", "excludes", "keys", "lights", "cameras"):
        for element in list(getattr(spec, kind)):
            spec.delete(element)
    return spec


def _delete_joints(spec: mujoco.MjSpec, *names: str) -> None:
    """Weld bodies to their parents."""
    for name in names:
        spec.delete(spec.joint(name))


def _scale(spec: mujoco.MjSpec, length: float, mass: float) -> None:
    """Enlarge a robot, and multiply its masses."""
    for body in spec.bodies:
        body.pos, body.ipos = body.pos * length, body.ipos * length
        body.mass, body.inertia = body.mass * mass, body.inertia * mass * length**2
    for geom in spec.geoms:
        geom.pos, geom.size = geom.pos * length, geom.size * length
        if np.isfinite(geom.fromto).all():
            geom.fromto = geom.fromto * length


def _reduce_colliders(spec: mujoco.MjSpec) -> None:
    """Leave torso and head, and four spheres under each foot: within the flat tasks' few contacts."""
    for geom in list(spec.geoms):
        if geom.name not in KEPT_COLLIDERS:
            spec.delete(geom)
    for side in SIDES:
        for corner, (x, y) in enumerate(SOLE):
            sphere = {"type": mujoco.mjtGeom.mjGEOM_SPHERE, "size": [0.01, 0.0, 0.0], "pos": [x, y, -0.025]}
            spec.body(f"{side}_ankle_roll_link").add_geom(name=f"{side}_foot{corner}", **sphere)


def _fuse(spec: mujoco.MjSpec) -> mujoco.MjModel:
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


def _lowest_sole(model: mujoco.MjModel, height: float, joint_positions: dict[str, float]) -> float:
    """Return the height of the lowest foot sphere above the ground [m] at a root height [m] and joint angles [rad]."""
    data = mujoco.MjData(model)
    data.qpos[:] = 0.0
    data.qpos[2:4] = height, 1.0
    for name, angle in joint_positions.items():
        data.qpos[model.joint(name).qposadr[0]] = angle
    mujoco.mj_kinematics(model, data)
    feet = [geom for geom in range(model.ngeom) if "_foot" in model.geom(geom).name]
    return float(min(data.geom_xpos[geom][2] - model.geom_size[geom][0] for geom in feet))
