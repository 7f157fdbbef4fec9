#!/usr/bin/env bash
# Isaac Lab 3.0.0: the commands of isaaclab_tasks accept settings of a task that do not exist. `register_task` sets each literal value of
# `env.NAME=VALUE` and `agent.NAME=VALUE` as an attribute, so a misspelt last part becomes a new attribute that nothing reads:
# the training starts with the old value, without a word. A misspelt part before it raises an AttributeError, as expected.
# Seen: "settings that did not: 7 0.5 3 left to Hydra: []", while decimation, dt and max_iterations keep 2, 1/120 and 150.
# Consequence here: source/trudi_rsl/hosts/isaaclab/launch_3_0.py refuses them, with the nearest name.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.12 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check)
"${pip[@]}" --no-deps "isaaclab==3.0.0" "newton==1.6.1" "rsl-rl-lib==5.5.1"
"${pip[@]}" "torch==2.11.0" "warp-lang==1.17.0" "mujoco~=3.12.0" "mujoco-warp~=3.12.0" "usd-core==26.11" "newton-usd-schemas>=0.5.0" \
    "gymnasium>=1.2.0" "tensordict" "tensorboard" "hydra-core>=1.3" "numpy>=2" scipy trimesh einops h5py matplotlib "onnxscript>=0.5.4" \
    GitPython Jinja2 filelock lazy_loader packaging prettytable psutil pyyaml requests rich
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | grep -v '^\[INFO\]'
import isaaclab_tasks  # noqa: F401
from isaaclab_tasks.utils.hydra import register_task

overrides = ["env.decimatoin=7", "env.sim.dtt=0.5", "agent.max_iteration=3"]
env, agent, left = register_task("Isaac-Cartpole", "rsl_rl_cfg_entry_point", False, overrides)
print("settings that exist:", env.decimation, env.sim.dt, agent.max_iterations)
print("settings that did not:", env.decimatoin, env.sim.dtt, agent.max_iteration, "left to Hydra:", left)
assert (env.decimatoin, env.sim.dtt, agent.max_iteration, left) == (7, 0.5, 3, []), "The behaviour has changed."
try:
    register_task("Isaac-Cartpole", "rsl_rl_cfg_entry_point", False, ["env.simm.dt=0.5"])
except AttributeError as error:
    print("a misspelt part before the last:", error)
PYTHON
