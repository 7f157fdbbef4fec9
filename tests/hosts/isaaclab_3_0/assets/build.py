# SPDX-License-Identifier: BSD-3-Clause
"""A folder that replaces Isaac Sim's asset server, built without network and without Isaac Sim.

Isaac Lab reads all assets from `ISAACSIM_ASSET_ROOT`, if set before its import. The robots have the names and
dimensions of NVIDIA's, but are not the same: returns must not be compared with published ones.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.hosts.isaaclab_3_0.assets.allegro import write_allegro
from tests.hosts.isaaclab_3_0.assets.anymal import write_anymal, write_drive_network
from tests.hosts.isaaclab_3_0.assets.humanoids import write_g1, write_h1
from tests.hosts.isaaclab_3_0.assets.shadow import write_shadow
from tests.hosts.isaaclab_3_0.assets.simple import write_ant, write_cartpole, write_cube, write_ground

# Source of the G1's MJCF file; the package is not installed.
MJLAB = "mjlab==1.6.0"


def build_assets(root: Path, cache: Path) -> None:
    """Write all assets to ``root``, the folder for ``ISAACSIM_ASSET_ROOT``; downloads go to ``cache``."""
    g1 = read_g1(cache)
    newton = importlib.util.find_spec("newton")
    assert newton is not None and newton.origin is not None
    examples = Path(newton.origin).parent / "examples" / "assets"
    sim, lab = root / "Isaac", root / "Isaac" / "IsaacLab"
    write_ground(lab / "Environments/Grid/default_ground_plane_checker_v1/default_ground_plane.usda")
    write_g1(g1, lab / "Robots/Unitree/G1/g1_minimal.usd")
    write_h1(g1, lab / "Robots/Unitree/H1/h1_minimal.usd")
    write_cartpole(lab / "Robots/Classic/Cartpole/cartpole.usd")
    write_ant(examples, sim / "Robots/IsaacSim/Ant/ant_instanceable.usd")
    write_allegro(sim / "Robots/WonikRobotics/AllegroHand/allegro_hand_instanceable.usd")
    write_anymal(lab / "Robots/ANYbotics/ANYmal-D/anymal_d.usd")
    write_drive_network(lab / "ActuatorNets/ANYbotics/anydrive_3_lstm_jit.pt")
    write_shadow(sim / "Robots_Multiphysics/ShadowRobot/ShadowHandMultiPhysics_v0/right_hand/right_hand.usda")
    write_cube(sim / "Props/Blocks/DexCube/dex_cube_instanceable.usd")


def read_g1(cache: Path) -> Path:
    """Return the MJCF file of the G1, extracted from mjlab's wheel if it is not in the cache."""
    file = cache / "g1.xml"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pip = (sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps")
        subprocess.run([*pip, "--dest", cache, MJLAB], check=True)
        [wheel] = cache.glob("mjlab-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            members = {Path(name).name: name for name in archive.namelist()}
            file.write_bytes(archive.read(members[file.name]))
        wheel.unlink()
    return file


if __name__ == "__main__":
    build_assets(root := Path(sys.argv[1]), root)
