# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportAttributeAccessIssue=false
"""Stand-ins for Unitree's G1 and H1, made from mjlab's model of the G1."""

from __future__ import annotations

import math
from pathlib import Path

import mujoco

from tests.hosts.isaaclab_3_0.assets.articulation import write_articulation
from tests.hosts.isaaclab_3_0.assets.mjcf import (
    SIDES,
    delete_joints,
    fuse,
    load,
    lowest_sole,
    reduce_humanoid_colliders,
    scale,
)

# Isaac Lab's G1_MINIMAL_CFG: height of the pelvis [m] and angles of each leg [rad] at the start of an episode.
G1_HEIGHT = 0.74
G1_LEG = {"hip_pitch": -0.20, "knee": 0.42, "ankle_pitch": -0.23}
# Clearance of the soles at the start of an episode [m].
CLEARANCE = 0.003
H1_LENGTH, H1_MASS = 1.42, 1.5


def write_g1(mjcf: Path, path: Path) -> None:
    """Write a G1 with the 37 joints of G1_MINIMAL_CFG: 12 in the legs, the torso, 10 in the arms, 14 in the fingers."""
    spec = load(mjcf)
    spec.joint("waist_yaw_joint").name = "torso_joint"
    delete_joints(spec, "waist_roll_joint", "waist_pitch_joint")
    for side in SIDES:
        spec.joint(f"{side}_elbow_joint").name = f"{side}_elbow_pitch_joint"
        spec.body(f"{side}_elbow_link").name = f"{side}_elbow_pitch_link"
        spec.joint(f"{side}_wrist_roll_joint").name = f"{side}_elbow_roll_joint"
        spec.body(f"{side}_wrist_roll_link").name = f"{side}_elbow_roll_link"
        delete_joints(spec, f"{side}_wrist_pitch_joint", f"{side}_wrist_yaw_joint")
        palm = spec.body(f"{side}_wrist_yaw_link")
        palm.name = f"{side}_palm_link"
        _add_fingers(palm, side)
    reduce_humanoid_colliders(spec)
    # mjlab's G1 is taller than Isaac Lab's start pose allows for: episodes would begin deep in the ground.
    pose = {f"{side}_{joint}_joint": angle for side in SIDES for joint, angle in G1_LEG.items()}
    too_long = CLEARANCE - lowest_sole(spec.compile(), G1_HEIGHT, pose)
    for side in SIDES:
        ankle = spec.body(f"{side}_ankle_pitch_link")
        ankle.pos = [*ankle.pos[:2], ankle.pos[2] + too_long / math.cos(G1_LEG["hip_pitch"] + G1_LEG["knee"])]
    write_articulation(fuse(spec), path, "g1")


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
    spec = load(mjcf)
    spec.joint("waist_yaw_joint").name = "torso"
    delete_joints(spec, "waist_roll_joint", "waist_pitch_joint")
    for side in SIDES:
        delete_joints(
            spec, *(f"{side}_{name}_joint" for name in ("ankle_roll", "wrist_roll", "wrist_pitch", "wrist_yaw"))
        )
        for name in (
            "hip_pitch", "hip_roll", "hip_yaw", "knee", "shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow",
        ):  # fmt: skip
            spec.joint(f"{side}_{name}_joint").name = f"{side}_{name}"
        spec.joint(f"{side}_ankle_pitch_joint").name = f"{side}_ankle"
        spec.body(f"{side}_ankle_pitch_link").name = f"{side}_ankle_link"
    reduce_humanoid_colliders(spec)
    scale(spec, H1_LENGTH, H1_MASS)
    write_articulation(fuse(spec), path, "h1")
