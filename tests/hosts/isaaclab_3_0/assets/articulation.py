# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportAttributeAccessIssue=false
"""A compiled MuJoCo model written as a UsdPhysics articulation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np
from pxr import Usd, UsdGeom, UsdPhysics  # pyright: ignore[reportMissingImports]

from tests.hosts.isaaclab_3_0.assets.usd import add_drive, connect, make_body, new_stage, place, quaternion, vector

X_AXIS = np.array([1.0, 0.0, 0.0])


class Articulation(NamedTuple):
    """A compiled model and the stage that it is written to."""

    model: mujoco.MjModel
    stage: Usd.Stage
    root: str
    """Path of the articulation's root prim."""

    def body(self, index: int) -> Usd.Prim | None:
        """Return the prim of a body, None for the world."""
        return self.stage.GetPrimAtPath(f"{self.root}/{self.model.body(index).name}") if index else None

    def joint_path(self, name: str) -> str:
        """Return the path of a joint."""
        return f"{self.root}/joints/{name}"


def write_articulation(model: mujoco.MjModel, path: Path, name: str) -> None:
    """Write a model as ``/name/<body>`` and ``/name/joints/<joint>``, with a flat list of bodies.

    Bodies have their primitive colliders. A first body with a free joint floats; one without is fixed to the world.

    Raises:
        ValueError: The model has other joints than hinges through their bodies' origins, or other geoms.
    """
    with new_stage(path, name) as stage:
        UsdPhysics.ArticulationRootAPI.Apply(stage.GetDefaultPrim())
        UsdGeom.Scope.Define(stage, f"/{name}/joints")
        write_parts(Articulation(model, stage, f"/{name}"))


def write_parts(target: Articulation) -> None:
    """Write the bodies, colliders and joints of a model below a root that exists."""
    model = target.model
    data = mujoco.MjData(model)
    data.qpos[:] = 0.0
    floats = model.njnt > 0 and model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
    if floats:
        data.qpos[3] = 1.0
    mujoco.mj_kinematics(model, data)
    for body in range(1, model.nbody):
        prim = UsdGeom.Xform.Define(target.stage, f"{target.root}/{model.body(body).name}").GetPrim()
        place(prim, data.xpos[body], data.xquat[body])
        make_body(prim, model.body_mass[body], model.body_inertia[body], model.body_ipos[body], model.body_iquat[body])
    for geom in range(model.ngeom):
        _write_collider(target, geom)
    for body in range(1, model.nbody):
        if model.body_jntnum[body] == 0:
            _write_weld(target, body)
    for joint in range(int(floats), model.njnt):
        _write_hinge(target, joint)


def _write_collider(target: Articulation, geom: int) -> None:
    model, stage = target.model, target.stage
    body = model.body(int(model.geom_bodyid[geom])).name
    path = f"{target.root}/{body}/{model.geom(geom).name or f'geom{geom}'}"
    size, kind = model.geom_size[geom].tolist(), mujoco.mjtGeom(int(model.geom_type[geom]))
    scale = (1.0, 1.0, 1.0)
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        shape = UsdGeom.Sphere.Define(stage, path)
        shape.CreateRadiusAttr(size[0])
    elif kind == mujoco.mjtGeom.mjGEOM_BOX:
        shape = UsdGeom.Cube.Define(stage, path)
        shape.CreateSizeAttr(2.0)
        scale = size
    elif kind in (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER):
        capsule = kind == mujoco.mjtGeom.mjGEOM_CAPSULE
        shape = (UsdGeom.Capsule if capsule else UsdGeom.Cylinder).Define(stage, path)
        shape.CreateRadiusAttr(size[0])
        shape.CreateHeightAttr(2.0 * size[1])
        shape.CreateAxisAttr("Z")
    else:
        raise ValueError(
            f"{path}: geoms of type {kind.name} cannot be written, only spheres, boxes, capsules, cylinders"
        )
    place(shape.GetPrim(), model.geom_pos[geom], model.geom_quat[geom], scale)
    UsdPhysics.CollisionAPI.Apply(shape.GetPrim())


def _write_weld(target: Articulation, body: int) -> None:
    model = target.model
    parent = int(model.body_parentid[body])
    name = f"{model.body(body).name}_fixed" if parent else "root_joint"
    weld = UsdPhysics.FixedJoint.Define(target.stage, target.joint_path(name))
    connect(weld, target.body(parent), target.body(body))
    if parent:
        weld.CreateLocalPos0Attr(vector(model.body_pos[body]))
        weld.CreateLocalRot0Attr(quaternion(model.body_quat[body]))


def _write_hinge(target: Articulation, joint: int) -> None:
    model = target.model
    name = model.joint(joint).name
    if model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_HINGE or np.any(model.jnt_pos[joint]):
        raise ValueError(f"{name}: only hinges through the origin of their body can be written")
    body = int(model.jnt_bodyid[joint])
    # UsdPhysics hinges turn about a coordinate axis, so both local frames are turned until x is the hinge's axis.
    turn = _rotation_from_x(model.jnt_axis[joint])
    turn_in_parent = np.zeros(4)
    mujoco.mju_mulQuat(turn_in_parent, model.body_quat[body], turn)
    hinge = UsdPhysics.RevoluteJoint.Define(target.stage, target.joint_path(name))
    connect(hinge, target.body(int(model.body_parentid[body])), target.body(body))
    hinge.CreateAxisAttr("X")
    hinge.CreateLocalPos0Attr(vector(model.body_pos[body]))
    hinge.CreateLocalRot0Attr(quaternion(turn_in_parent))
    hinge.CreateLocalPos1Attr(vector((0.0, 0.0, 0.0)))
    hinge.CreateLocalRot1Attr(quaternion(turn))
    low, high = model.jnt_range[joint] if model.jnt_limited[joint] else (-2.0 * math.pi, 2.0 * math.pi)
    hinge.CreateLowerLimitAttr(math.degrees(low))
    hinge.CreateUpperLimitAttr(math.degrees(high))
    add_drive(hinge, "angular", stiffness=1.0, damping=0.1, max_force=300.0)


def _rotation_from_x(axis: np.ndarray) -> np.ndarray:
    """Return the quaternion (w, x, y, z) that turns the x axis into ``axis`` [3]."""
    axis = axis / np.linalg.norm(axis)
    w = 1.0 + X_AXIS @ axis
    if w < 1e-9:
        return np.array([0.0, 0.0, 1.0, 0.0])
    half = np.concatenate([[w], np.cross(X_AXIS, axis)])
    return half / np.linalg.norm(half)
