# SPDX-License-Identifier: BSD-3-Clause
"""Writing OpenUSD stages as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics  # pyright: ignore[reportMissingImports]


@contextmanager
def new_stage(path: Path, root: str) -> Iterator[Usd.Stage]:
    """Make a stage in metres with z up and the default Xform ``root``, and save it as text when the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layer = Sdf.Layer.CreateNew(str(path), args={"format": "usda"} if path.suffix == ".usd" else {})
    stage = Usd.Stage.Open(layer)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, f"/{root}").GetPrim())
    yield stage
    layer.Save()


def vector(values: Iterable[float]) -> Gf.Vec3f:
    """Return three numbers as USD's float vector."""
    return Gf.Vec3f(*map(float, values))


def quaternion(values: Iterable[float]) -> Gf.Quatf:
    """Return ``w, x, y, z`` as USD's quaternion."""
    return Gf.Quatf(*map(float, values))


def place(
    prim: Usd.Prim,
    position: Iterable[float] = (0.0, 0.0, 0.0),
    orientation: Iterable[float] = (1.0, 0.0, 0.0, 0.0),
    scale: Iterable[float] = (1.0, 1.0, 1.0),
) -> None:
    """Put a prim at a position [m] and orientation (w, x, y, z) relative to its parent."""
    form = UsdGeom.Xformable(prim)
    form.AddTranslateOp().Set(Gf.Vec3d(*map(float, position)))
    form.AddOrientOp().Set(quaternion(orientation))
    form.AddScaleOp().Set(vector(scale))


def make_body(
    prim: Usd.Prim,
    mass: float,
    inertia: Iterable[float],
    centre: Iterable[float] = (0.0, 0.0, 0.0),
    principal_axes: Iterable[float] = (1.0, 0.0, 0.0, 0.0),
) -> None:
    """Turn a prim into a rigid body of a mass [kg] and principal moments of inertia [kg m^2] about its centre [m]."""
    UsdPhysics.RigidBodyAPI.Apply(prim)
    properties = UsdPhysics.MassAPI.Apply(prim)
    properties.CreateMassAttr(float(mass))
    properties.CreateCenterOfMassAttr(vector(centre))
    properties.CreateDiagonalInertiaAttr(vector(inertia))
    properties.CreatePrincipalAxesAttr(quaternion(principal_axes))


def connect(joint: Any, parent: Usd.Prim | None, child: Usd.Prim) -> None:
    """Name the bodies that a joint connects; without a parent it holds the child in the world."""
    if parent is not None:
        joint.CreateBody0Rel().SetTargets([parent.GetPath()])
    joint.CreateBody1Rel().SetTargets([child.GetPath()])


def add_drive(joint: Any, kind: str, stiffness: float, damping: float, max_force: float) -> None:
    """Add the drive that Isaac Lab's actuators need; they overwrite its gains.

    ``kind`` is ``"angular"`` (gains in N m and degrees) or ``"linear"`` (in N and m).
    """
    drive = UsdPhysics.DriveAPI.Apply(joint.GetPrim(), kind)
    drive.CreateTypeAttr("force")
    drive.CreateStiffnessAttr(stiffness)
    drive.CreateDampingAttr(damping)
    drive.CreateMaxForceAttr(max_force)
