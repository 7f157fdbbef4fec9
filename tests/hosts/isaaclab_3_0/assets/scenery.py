# SPDX-License-Identifier: BSD-3-Clause
"""What robots stand on and handle."""

from __future__ import annotations

from pathlib import Path

from pxr import Gf, Sdf, UsdGeom, UsdPhysics  # pyright: ignore[reportMissingImports]

from tests.hosts.isaaclab_3_0.assets.usd import new_stage, place

CUBE_SIDE, CUBE_MASS = 0.065, 0.1


def write_ground(path: Path) -> None:
    """Write what ``spawn_ground_plane`` looks for: a plane that collides, and a mesh with texture coordinates."""
    with new_stage(path, "World") as stage:
        plane = UsdGeom.Plane.Define(stage, "/World/CollisionPlane")
        plane.CreateAxisAttr("Z")
        plane.CreateWidthAttr(200.0)
        plane.CreateLengthAttr(200.0)
        UsdPhysics.CollisionAPI.Apply(plane.GetPrim())
        UsdGeom.Imageable(plane).CreatePurposeAttr("guide")
        place(UsdGeom.Xform.Define(stage, "/World/Environment").GetPrim())
        mesh = UsdGeom.Mesh.Define(stage, "/World/Environment/Geometry")
        corners = [(-50, -50), (50, -50), (50, 50), (-50, 50)]
        mesh.CreatePointsAttr([(x, y, 0) for x, y in corners])
        mesh.CreateFaceVertexCountsAttr([4])
        mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
        texture = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "vertex")
        texture.Set([Gf.Vec2f(x / 2, y / 2) for x, y in corners])


def write_cube(path: Path) -> None:
    """Write the cube that hands turn."""
    with new_stage(path, "dex_cube") as stage:
        cube = stage.GetDefaultPrim()
        place(cube)
        UsdPhysics.RigidBodyAPI.Apply(cube)
        UsdPhysics.MassAPI.Apply(cube).CreateMassAttr(CUBE_MASS)
        shape = UsdGeom.Cube.Define(stage, "/dex_cube/geom")
        shape.CreateSizeAttr(CUBE_SIDE)
        UsdPhysics.CollisionAPI.Apply(shape.GetPrim())
