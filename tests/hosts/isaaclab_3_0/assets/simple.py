# SPDX-License-Identifier: BSD-3-Clause
"""Ground, cube, cartpole and ant."""

from __future__ import annotations

from pathlib import Path

from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics  # pyright: ignore[reportMissingImports]

from tests.hosts.isaaclab_3_0.assets.usd import add_drive, connect, make_body, new_stage, place, vector


def write_ant(examples: Path, path: Path) -> None:
    """Copy the ant from Newton's example assets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((examples / "ant.usda").read_text())


def write_cartpole(path: Path) -> None:
    """Write a cart of 1 kg on an 8 m rail along y, and on it a pole of 1 m and 0.2 kg that turns about x."""
    with new_stage(path, "Cartpole") as stage:
        UsdPhysics.ArticulationRootAPI.Apply(stage.GetDefaultPrim())
        rail = _box(stage, "slider", size=(0.03, 8.0, 0.03), position=(0.0, 0.0, 0.0), mass=1.0)
        cart = _box(stage, "cart", size=(0.2, 0.25, 0.2), position=(0.0, 0.0, 0.0), mass=1.0)
        pole = _box(stage, "pole", size=(0.04, 0.06, 1.0), position=(0.12, 0.0, 0.5), mass=0.2)
        connect(UsdPhysics.FixedJoint.Define(stage, "/Cartpole/root_joint"), None, rail)
        slide = UsdPhysics.PrismaticJoint.Define(stage, "/Cartpole/slider_to_cart")
        connect(slide, rail, cart)
        slide.CreateAxisAttr("Y")
        slide.CreateLowerLimitAttr(-4.0)
        slide.CreateUpperLimitAttr(4.0)
        add_drive(slide, "linear", stiffness=0.0, damping=10.0, max_force=400.0)
        hinge = UsdPhysics.RevoluteJoint.Define(stage, "/Cartpole/cart_to_pole")
        connect(hinge, cart, pole)
        hinge.CreateAxisAttr("X")
        hinge.CreateLocalPos0Attr(vector((0.12, 0.0, 0.0)))
        hinge.CreateLocalPos1Attr(vector((0.0, 0.0, -0.5)))
        add_drive(hinge, "angular", stiffness=0.0, damping=0.0, max_force=0.0)


def _box(
    stage: Usd.Stage, name: str, size: tuple[float, float, float], position: tuple[float, float, float], mass: float
) -> Usd.Prim:
    """Add a body that is seen as a box [m]; it touches nothing."""
    prim = UsdGeom.Xform.Define(stage, f"/Cartpole/{name}").GetPrim()
    place(prim, position)
    make_body(prim, mass, inertia=(0.01, 0.01, 0.01))
    box = UsdGeom.Cube.Define(stage, f"/Cartpole/{name}/geom")
    box.CreateSizeAttr(1.0)
    box.AddScaleOp().Set(vector(size))
    return prim


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
    """Write the cube of 6.5 cm and 0.1 kg that hands turn."""
    with new_stage(path, "dex_cube") as stage:
        cube = stage.GetDefaultPrim()
        place(cube)
        UsdPhysics.RigidBodyAPI.Apply(cube)
        UsdPhysics.MassAPI.Apply(cube).CreateMassAttr(0.1)
        shape = UsdGeom.Cube.Define(stage, "/dex_cube/geom")
        shape.CreateSizeAttr(0.065)
        UsdPhysics.CollisionAPI.Apply(shape.GetPrim())
