# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Stand-ins for the meshes of Unitree's G1 and Booster's T1, which Playground does not contain.

They are only drawn: collisions and masses are in the models. So a tetrahedron under each file's name leaves the physics
bitwise unchanged.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

from mujoco_playground._src import mjx_env

ROBOTS = {"g1": "unitree_g1", "t1": "booster_t1"}
"""Folders of the robots in Playground and in the menagerie."""
CORNERS = ((0.0, 0.0, 0.0), (0.05, 0.0, 0.0), (0.0, 0.05, 0.0), (0.0, 0.0, 0.05))
FACES = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))


def tetrahedron() -> bytes:
    """Return a binary STL file: a header of 80 bytes, the number of faces, and a normal and corners of each."""
    faces = b"".join(
        struct.pack("<3f", 0.0, 0.0, 0.0) + b"".join(struct.pack("<3f", *CORNERS[i]) for i in face) + b"\0\0"
        for face in FACES
    )
    return bytes(80) + struct.pack("<I", len(FACES)) + faces


def write_standins(folder: Path) -> Path:
    """Write a stand-in for each mesh that the models of the robots name, and return the folder."""
    source = Path(mjx_env.__file__).parent / "locomotion"
    for robot, menagerie_name in ROBOTS.items():
        for model in (source / robot / "xmls").glob("*.xml"):
            for name in re.findall(r'file="[^"]*mujoco_menagerie/[^"]*?/assets/([^"]+)"', model.read_text()):
                path = folder / menagerie_name / "assets" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tetrahedron())
    return folder
