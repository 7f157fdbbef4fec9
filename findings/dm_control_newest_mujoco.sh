#!/usr/bin/env bash
# dm_control 1.0.50 requires mujoco>=3.17.0 and does not work with MuJoCo 4.0.0, which pip therefore installs beside it: importing
# its suite, or loading a task, raises an AttributeError for a field of MuJoCo's structs that is gone.
# Seen with dm_control 1.0.50 and mujoco 4.0.0. Consequence here: the extra dm_control pins both, and the host's error names the
# pair that works.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install -qq --disable-pip-version-check "dm_control==1.0.50" "mujoco==4.0.0"
"$python" -m pip check
"$python" - <<'PYTHON'
import mujoco

try:
    from dm_control import suite

    suite.load("cartpole", "balance").reset()
except AttributeError as error:
    print("mujoco", mujoco.__version__, "satisfies dm_control's requirement, but:", error)
else:
    raise SystemExit("The behaviour has changed: dm_control works with this MuJoCo.")
PYTHON
