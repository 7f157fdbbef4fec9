#!/usr/bin/env bash
# rsl-rl-lib 5.0.1 to 5.5.1: PPO with RNNModels cuts minibatches out of whole environments, num_envs // num_mini_batches each. With more
# minibatches than environments that is none: every iteration reports losses of NaN and no parameter changes, while training goes on
# and saves checkpoints. That is easily met in a trial run with few environments, or when a recurrent policy is fine-tuned on one.
# Consequence here: such a training is refused before it starts (source/trudi_rsl/config/compose.py), for TruDi's recurrent policies
# too (source/trudi_rsl/setting_ranges.py).
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

MODEL = {"class_name": "RNNModel", "hidden_dims": [8], "activation": "elu", "rnn_type": "gru", "rnn_hidden_dim": 8}


class Env:
    num_envs, num_actions, max_episode_length, device, cfg = 3, 2, 10, "cpu", {}
    episode_length_buf = torch.zeros(3, dtype=torch.long)

    @property
    def unwrapped(self):
        return self

    def get_observations(self):
        return TensorDict({"policy": torch.rand(3, 4)}, [3])

    def step(self, actions):
        return self.get_observations(), torch.rand(3), torch.zeros(3, dtype=torch.long), {}


def learns(num_mini_batches):
    config = {
        "num_steps_per_env": 8,
        "save_interval": 10,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": MODEL | {"distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0}},
        "critic": dict(MODEL),
        "algorithm": {"class_name": "PPO", "num_learning_epochs": 2, "num_mini_batches": num_mini_batches},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        runner = OnPolicyRunner(Env(), copy.deepcopy(config), log_dir=None, device="cpu")
        before = [parameter.clone() for parameter in runner.alg.actor.parameters()]
        with torch.inference_mode():
            for _ in range(8):
                obs = Env().get_observations()
                runner.alg.act(obs)
                runner.alg.process_env_step(obs, torch.rand(3), torch.zeros(3, dtype=torch.long), {})
            runner.alg.compute_returns(obs)
        losses = runner.alg.update()
    are_finite = all(value == value for value in losses.values())
    return are_finite, any(not torch.equal(a, b) for a, b in zip(before, runner.alg.actor.parameters(), strict=True))


found = {number: learns(number) for number in (3, 4)}
print(f"rsl-rl-lib {sys.argv[1]}, 3 environments; losses are finite, parameters change: {found}")
assert found == {3: (True, True), 4: (False, False)}, "The behaviour has changed."
PYTHON
done
