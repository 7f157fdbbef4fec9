# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportAttributeAccessIssue=false
"""A substitute for the Shadow hand: its names, joints and tendons on schematic fingers.

The hand points along x, palm up. In four fingers a tendon with a motor bends the last two joints.
"""

from __future__ import annotations

import math
from pathlib import Path

import mujoco
from pxr import Sdf, Usd, UsdPhysics  # pyright: ignore[reportMissingImports]

from tests.hosts.isaaclab_3_0.assets.articulation import Articulation, write_parts
from tests.hosts.isaaclab_3_0.assets.usd import new_stage

ROOT = "shadow_hand"
# Where a finger begins on the palm: across it [m].
FINGERS = {"FF": 0.033, "MF": 0.011, "RF": -0.011, "LF": -0.033}
SIDEWAYS, BENDING = "0 0 1", "0 -1 0"
# Isaac Lab chooses one of each by name; here all are the same.
VARIANTS = {"Physics": ("mujoco", "physx"), "Colliders": ("simplified",)}
# Of each tendon's motor: N m per rad, and its range [rad] as Isaac Lab's TENDON_POSITION_LIMITS.
GAIN, MOTOR_RANGE = 1.0, (0.0, math.pi)


def write_shadow(path: Path) -> None:
    """Write a hand with 24 joints, of which 8 are driven by 4 tendons, held in the world by its forearm."""
    fingers = "".join(_finger(name, y) for name, y in FINGERS.items())
    forearm = _link("forearm", "0 0 0", None, 0.24, _wrist(fingers + _thumb()), radius=0.03)
    xml = f'<mujoco><compiler angle="radian" autolimits="true"/><worldbody>{forearm}</worldbody></mujoco>'
    with new_stage(path, ROOT) as stage:
        root = stage.GetDefaultPrim()
        UsdPhysics.ArticulationRootAPI.Apply(root)
        for name, choices in VARIANTS.items():
            variants = root.GetVariantSets().AddVariantSet(name)
            for choice in choices:
                variants.AddVariant(choice)
            variants.SetVariantSelection(choices[0])
        stage.DefinePrim(f"/{ROOT}/joints", "Scope")
        hand = Articulation(mujoco.MjModel.from_xml_string(xml), stage, f"/{ROOT}")
        write_parts(hand)
        for name in FINGERS:
            _write_tendon(hand, f"rh_{name}J0", (f"rh_{name}J2", f"rh_{name}J1"))


def _link(
    name: str, position: str, joint: tuple[str, str, str] | None, length: float, inner: str, radius: float = 0.008
) -> str:
    """Return a body in MJCF: a capsule along x with a joint (name, axis, range [rad]) and the ``inner`` bodies.

    Lengths are in metres; ``length`` includes the caps.
    """
    hinge = "" if joint is None else '<joint name="rh_{}" axis="{}" range="{}"/>'.format(*joint)
    return f"""<body name="rh_{name}" pos="{position}">{hinge}
        <geom name="{name}" type="capsule" size="{radius}" fromto="{radius} 0 0 {length - radius} 0 0" mass=".03"/>
        {inner}</body>"""


def _wrist(inner: str) -> str:
    palm = f"""<body name="rh_palm" pos=".034 0 0"><joint name="rh_WRJ1" axis="{BENDING}" range="-.7 .5"/>
        <geom name="palm" type="box" size=".045 .044 .011" pos=".047 0 0" mass=".3"/>{inner}</body>"""
    return _link("wrist", ".25 0 0", ("WRJ2", SIDEWAYS, "-.5 .2"), 0.03, palm, radius=0.014)


def _finger(name: str, y: float) -> str:
    """Return a finger that spreads, and bends three times; the little one has a bone in the palm too."""
    body = name.lower()
    inner = _link(f"{body}distal", ".027 0 0", (f"{name}J1", BENDING, "0 1.57"), 0.026, "")
    inner = _link(f"{body}middle", ".047 0 0", (f"{name}J2", BENDING, "0 1.57"), 0.025, inner)
    inner = _link(f"{body}proximal", ".019 0 0", (f"{name}J3", BENDING, "-.26 1.57"), 0.045, inner)
    root = f".096 {y} 0"
    if name != "LF":
        return _link(f"{body}knuckle", root, (f"{name}J4", SIDEWAYS, "-.35 .35"), 0.018, inner)
    knuckle = _link(f"{body}knuckle", "0 0 0", (f"{name}J4", SIDEWAYS, "-.35 .35"), 0.018, inner)
    return f"""<body name="rh_lfmetacarpal" pos="{root}"><joint name="rh_LFJ5" axis="1 0 0" range="0 .79"/>
        <inertial pos="0 0 0" mass=".03" diaginertia="1e-5 1e-5 1e-5"/>{knuckle}</body>"""


def _thumb() -> str:
    inner = _link("thdistal", ".034 0 0", ("THJ1", BENDING, "-.26 1.57"), 0.028, "")
    inner = _link("thmiddle", ".02 0 0", ("THJ2", BENDING, "-.7 .7"), 0.032, inner)
    inner = _link("thhub", ".04 0 0", ("THJ3", SIDEWAYS, "-.21 .21"), 0.018, inner)
    inner = _link("thproximal", ".018 0 0", ("THJ4", BENDING, "0 1.22"), 0.038, inner)
    return _link("thbase", ".03 .06 0", ("THJ5", SIDEWAYS, "-1.05 1.05"), 0.017, inner)


def _write_tendon(hand: Articulation, name: str, joints: tuple[str, ...]) -> None:
    """Write a tendon whose length is the sum of two joint angles, and its motor, as MuJoCo's USD schemas name them."""
    for joint in joints:
        drive = UsdPhysics.DriveAPI.Get(hand.stage.GetPrimAtPath(hand.joint_path(joint)), "angular")
        drive.GetStiffnessAttr().Set(0.0)
        drive.GetDampingAttr().Set(0.0)
    tendon = hand.stage.DefinePrim(f"{hand.root}/tendons/{name}", "MjcTendon")
    _set(tendon, "type", "Token", "fixed")
    tendon.CreateRelationship("mjc:path").SetTargets([hand.joint_path(joint) for joint in joints])
    _set(tendon, "path:coef", "DoubleArray", [1.0] * len(joints))
    motor = hand.stage.DefinePrim(f"{hand.root}/actuators/{name}", "MjcActuator")
    motor.CreateRelationship("mjc:target").SetTargets([tendon.GetPath()])
    for end, angle in zip(("min", "max"), MOTOR_RANGE, strict=True):
        _set(motor, f"ctrlRange:{end}", "Double", angle)
    _set(motor, "gainPrm", "DoubleArray", [GAIN] + [0.0] * 9)
    _set(motor, "biasType", "Token", "affine")
    _set(motor, "biasPrm", "DoubleArray", [0.0, -GAIN] + [0.0] * 8)


def _set(prim: Usd.Prim, name: str, kind: str, value: object) -> None:
    prim.CreateAttribute(f"mjc:{name}", getattr(Sdf.ValueTypeNames, kind)).Set(value)
