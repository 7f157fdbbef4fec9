#!/usr/bin/env bash
# The step count of RND's weight schedule is in no checkpoint of rsl-rl-lib 4.0.1 to 5.5.1: RandomNetworkDistillation counts
# in `update_counter`, a plain attribute, so that a resumed training starts the schedule again. With a step schedule to 0
# after 3 updates the weight is 0 before the checkpoint and the initial one after loading it.
# Consequence here: checkpoints of TruDi, REPPO, DIME, SPO, DPPO and FPO carry the count (docs/swap.md).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check)
"${pip[@]}" "torch==2.13.0" "tensordict" "numpy" "gitpython" "onnx" "onnxscript" "tensorboard"
cd "$folder"
for version in 4.0.1 5.5.1; do
    "${pip[@]}" --no-deps --target "$folder/$version" "rsl-rl-lib==$version"
    PYTHONPATH="$folder/$version" "$folder/venv/bin/python" -W ignore - "$version" <<'PYTHON'
import sys

import torch
from rsl_rl.extensions import RandomNetworkDistillation
from tensordict import TensorDict


def make():
    schedule = {"mode": "step", "final_step": 3, "final_value": 0.0}
    sizes = {"num_outputs": 2, "predictor_hidden_dims": [4], "target_hidden_dims": [4]}
    return RandomNetworkDistillation(3, {"rnd_state": ["policy"]}, **sizes, weight=0.5, weight_schedule=schedule)


obs, rnd = TensorDict({"policy": torch.zeros(2, 3)}, [2]), make()
for _ in range(5):
    rnd.get_intrinsic_reward(obs)
resumed = make()
resumed.load_state_dict(rnd.state_dict())
resumed.get_intrinsic_reward(obs)
print(f"rsl-rl-lib {sys.argv[1]}: weight {rnd.weight} before the checkpoint, {resumed.weight} after loading it")
assert (rnd.weight, resumed.weight) == (0.0, 0.5), "The behaviour has changed."
PYTHON
done
