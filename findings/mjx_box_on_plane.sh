#!/usr/bin/env bash
# MJX keeps only those corners of a box in a plane that are within 1 mm of the deepest corner. A box that lies 5 mm in the floor
# and is tilted by 0.6 degrees touches it with two corners in mujoco-mjx 3.17.0 and with all four in MuJoCo 4.0.0. The same state
# then has a vertical acceleration of opposite sign and an angular one of 185 instead of 26 rad/s^2. Without the tilt
# both have four contacts and agree. Feet made of boxes, such as the G1's of MuJoCo Playground, are reset into such states.
# Consequence here: docs/playground.md says where a sim-to-sim comparison in plain MuJoCo holds (in flight) and where it does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install -qq --disable-pip-version-check "mujoco==4.0.0" "mujoco-mjx==3.17.0" "jax==0.10.2"
JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax
import mujoco
import numpy as np
from mujoco import mjx

MODEL = """
<mujoco>
  <worldbody>
    <geom type="plane" size="1 1 .1"/>
    <body pos="0 0 .015" quat="1 0 {half_tilt} 0"><freejoint/><geom type="box" size=".1 .04 .02" mass="1"/></body>
  </worldbody>
</mujoco>
"""


def contacts_and_acceleration(tilt: float) -> tuple[list[int], list[float], list[float]]:
    """Return the corners in the plane, the vertical and the angular acceleration, of MuJoCo and of MJX."""
    model = mujoco.MjModel.from_xml_string(MODEL.format(half_tilt=tilt / 2))
    data = mujoco.MjData(model)
    batched = jax.jit(mjx.forward)(mjx.put_model(model), mjx.put_data(model, data))
    mujoco.mj_forward(model, data)
    counts, vertical, angular = [], [], []
    for contact, acceleration in ((data.contact, data.qacc), (batched._impl.contact, np.asarray(batched.qacc))):
        counts.append(int((np.asarray(contact.dist) < 0).sum()))
        vertical.append(round(float(acceleration[2]), 1))
        angular.append(round(float(np.abs(acceleration[3:]).max()), 1))
    return counts, vertical, angular


for tilt in (0.0, 0.01):
    counts, vertical, angular = contacts_and_acceleration(tilt)
    print(f"tilt {tilt} rad: corners {counts}, vertical acceleration {vertical} m/s^2, angular {angular} rad/s^2 (MuJoCo, MJX)")
    if tilt == 0.0:
        assert counts == [4, 4] and abs(vertical[0] - vertical[1]) < 0.5, "The level box differs, too."
    else:
        assert counts == [4, 2], "The behaviour has changed."
        assert vertical[0] > 0 > vertical[1] and angular[0] < 50 < 150 < angular[1], "The consequence has changed."
PYTHON
