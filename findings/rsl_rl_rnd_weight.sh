#!/usr/bin/env bash
# rsl-rl-lib 5.0.1 to 5.4.2 scales RND's weight by the step's length inside the caller's own dictionary: a second runner built from
# the same configuration (an evaluation beside the training, a sweep in one process, a retry) explores with a weight that is
# smaller by another factor of step_dt, here 50, without a message. 5.5.1 scales a copy.
# Consequence here: the section is copied before it is scaled, and one that RSL-RL has already scaled is refused
# (source/trudi_rsl/extensions.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check)
"${pip[@]}" "torch==2.13.0" "tensordict" "numpy" "gitpython" "onnx" "onnxscript" "tensorboard"
cd "$folder"
for version in 5.0.1 5.4.2 5.5.1; do
    "${pip[@]}" --no-deps --target "$folder/$version" "rsl-rl-lib==$version"
    PYTHONPATH="$folder/$version" "$folder/venv/bin/python" -W ignore - "$version" <<'PYTHON'
import contextlib
import copy
import io
import sys

import torch
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

STEP_DT = 0.02
MODEL = {"class_name": "MLPModel", "hidden_dims": [8], "activation": "elu", "obs_normalization": False}
RND = {"weight": 1.0, "num_outputs": 2, "predictor_hidden_dims": [4], "target_hidden_dims": [4]}
CONFIG = {
    "num_steps_per_env": 4,
    "save_interval": 10,
    "obs_groups": {"actor": ["policy"], "critic": ["policy"], "rnd_state": ["policy"]},
    "actor": MODEL | {"distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0}},
    "critic": MODEL,
    "algorithm": {"class_name": "PPO", "num_learning_epochs": 1, "num_mini_batches": 1, "rnd_cfg": RND},
}


class Env:
    num_envs, num_actions, max_episode_length, device, step_dt, cfg = 2, 1, 10, "cpu", STEP_DT, {}
    episode_length_buf = torch.zeros(2, dtype=torch.long)

    @property
    def unwrapped(self):
        return self

    def get_observations(self):
        return TensorDict({"policy": torch.zeros(2, 3)}, [2])


def weight_of_a_new_runner(config):
    with contextlib.redirect_stdout(io.StringIO()):
        runner = OnPolicyRunner(Env(), config, log_dir=None, device="cpu")
    return runner.alg.rnd.initial_weight


config = copy.deepcopy(CONFIG)
# the runner itself takes entries out of the sections, so each one gets copies of all but RND's
def fresh():
    rnd = config["algorithm"]["rnd_cfg"]
    return copy.deepcopy(config) | {"algorithm": copy.deepcopy(config["algorithm"]) | {"rnd_cfg": rnd}}


first, second = weight_of_a_new_runner(fresh()), weight_of_a_new_runner(fresh())
print(f"rsl-rl-lib {sys.argv[1]}: weight {first:g} of the first runner, {second:g} of the second")
expected = STEP_DT if sys.argv[1] == "5.5.1" else STEP_DT**2
assert abs(first - STEP_DT) < 1e-12 and abs(second - expected) < 1e-12, "The behaviour has changed."
PYTHON
done
