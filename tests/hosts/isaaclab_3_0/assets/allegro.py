# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportAttributeAccessIssue=false
"""A stand-in for the Allegro hand: its names and joints on schematic fingers."""

from __future__ import annotations

from pathlib import Path

import mujoco

from tests.hosts.isaaclab_3_0.assets.articulation import write_articulation

# Isaac Lab's ALLEGRO_HAND_CFG.init_state.rot (x, y, z, w), which the palm is turned against.
ALLEGRO_ROTATION = (0.283045, 0.683330, -0.621782, 0.257551)
ALLEGRO_FINGERS = {
    "index": (".045 -.20 0", "1 0 0 0"),
    "middle": ("0 -.20 0", "1 0 0 0"),
    "ring": ("-.045 -.20 0", "1 0 0 0"),
    "thumb": (".07 -.13 0", ".7071 0 0 .7071"),
}
"""Position [m] and orientation (w, x, y, z) of each finger on the palm."""


def write_allegro(path: Path) -> None:
    """Write a hand with the 16 joints of Wonik's Allegro: a palm under the cube, three fingers and a thumb."""
    x, y, z, w = ALLEGRO_ROTATION
    fingers = "".join(_allegro_finger(name, *pose) for name, pose in ALLEGRO_FINGERS.items())
    model = mujoco.MjModel.from_xml_string(f"""
        <mujoco><compiler angle="radian" autolimits="true"/><worldbody><body name="palm_link">
          <inertial pos="0 0 0" mass=".4" diaginertia=".001 .001 .001"/>
          <frame quat="{w} {-x} {-y} {-z}">
            <geom name="palm" type="box" size=".06 .09 .012" pos="0 -.11 0"/>{fingers}
          </frame>
        </body></worldbody></mujoco>""")
    write_articulation(model, path, "allegro_hand")


def _allegro_finger(name: str, position: str, orientation: str) -> str:
    """Return a finger in MJCF: a joint that spreads, and three that bend."""
    inner = ""
    for link in reversed(range(4)):
        place = (position, orientation) if link == 0 else ("0 -.045 0", "1 0 0 0")
        spread = "-.3 1.4" if name == "thumb" else "-.47 .47"
        axis, limits = ("0 0 1", spread) if link == 0 else ("-1 0 0", "-.2 1.6")
        inner = f"""<body name="{name}_link_{link}" pos="{place[0]}" quat="{place[1]}">
            <joint name="{name}_joint_{link}" axis="{axis}" range="{limits}"/>
            <geom name="{name}_{link}" type="capsule" size=".011" fromto="0 -.006 0 0 -.036 0" mass=".05"/>
            {inner}</body>"""
    return inner
