#!/usr/bin/env bash
# rsl-rl-lib 5.4.2 and 5.5.1: a CNNModel whose observation groups are images alone can be built with obs_normalization=True, which
# RSL-RL's and Isaac Lab's examples set, and acts; after the first rollout, training ends in "torch.cat(): expected a non-empty list
# of Tensors", because the statistics are updated from vectors that are not there. (Before 5.4 such a model cannot be built at all.)
# With False it trains.
# Consequence here: encoders of images alone do not normalise (source/trudi_rsl/policies/encoders.py), and the models that PPO gets by
# default for images switch it off where there are no vectors (source/trudi_rsl/hosts/training.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check)
"${pip[@]}" "torch==2.13.0" "tensordict" "numpy" "gitpython" "onnx" "onnxscript" "tensorboard"
cd "$folder"
for version in 5.4.2 5.5.1; do
    "${pip[@]}" --no-deps --target "$folder/$version" "rsl-rl-lib==$version"
    PYTHONPATH="$folder/$version" "$folder/venv/bin/python" -W ignore - "$version" <<'PYTHON'
import contextlib
import copy
import io
import sys

import torch
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

CNN = {"output_channels": [4], "kernel_size": 3, "stride": 2, "activation": "elu"}


class Env:
    num_envs, num_actions, max_episode_length, device, cfg = 4, 2, 10, "cpu", {}
    episode_length_buf = torch.zeros(4, dtype=torch.long)

    @property
    def unwrapped(self):
        return self

    def get_observations(self):
        return TensorDict({"camera": torch.rand(4, 1, 16, 16)}, [4])

    def step(self, actions):
        return self.get_observations(), torch.zeros(4), torch.zeros(4, dtype=torch.long), {}


def outcome(normalize):
    model = {"class_name": "CNNModel", "hidden_dims": [8], "activation": "elu", "cnn_cfg": CNN, "obs_normalization": normalize}
    config = {
        "num_steps_per_env": 4,
        "save_interval": 10,
        "obs_groups": {"actor": ["camera"], "critic": ["camera"]},
        "actor": model | {"distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0}},
        "critic": dict(model),
        "algorithm": {"class_name": "PPO", "num_learning_epochs": 1, "num_mini_batches": 1},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        runner = OnPolicyRunner(Env(), copy.deepcopy(config), log_dir=None, device="cpu")
        runner.alg.act(Env().get_observations())
        runner.alg.storage.clear()
        try:
            runner.learn(1)
        except ValueError as error:
            return str(error)
    return "trains"


found = {normalize: outcome(normalize) for normalize in (False, True)}
print(f"rsl-rl-lib {sys.argv[1]}: without normalisation it {found[False]}, with it: {found[True]}")
assert found == {False: "trains", True: "torch.cat(): expected a non-empty list of Tensors"}, "The behaviour has changed."
PYTHON
done
