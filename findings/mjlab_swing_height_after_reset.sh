#!/usr/bin/env bash
# mjlab 1.6.0: the reward term `feet_swing_height` of the stock velocity tasks (Unitree G1, Go1) keeps the highest point of each
# foot over a reset, because it is a class without `reset`. The first landing of an episode is rewarded for the swing of the episode
# before: from the same state, with the same actions and the same seed, an environment returns other rewards than it did before.
# Rewards are then no function of state and action, and a resumed training is not bitwise that which went on.
# Consequence here: tests/hosts/mjlab/test_recurrent.py clears the term before it compares a resumed run with the one it continues.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
pip=("$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check)
"${pip[@]}" "mjlab==1.6.0" "torch==2.13.0"
cd "$folder"
MJLAB_WARP_QUIET=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON' | tail -n 6
import torch
from mjlab.envs import ManagerBasedRlEnv
from mjlab.tasks import registry

cfg = registry.load_env_cfg("Mjlab-Velocity-Flat-Unitree-Go1")
cfg.scene.num_envs = 4
env = ManagerBasedRlEnv(cfg, "cpu")
names = env.reward_manager.active_terms


def episode():
    """Return observations and the rewards of each term in the first 8 steps after a seeded reset."""
    env.reset(seed=0)
    torch.manual_seed(0)
    observations, rewards = [], []
    for _ in range(8):
        obs, *_ = env.step(torch.rand(4, 12) - 0.5)
        observations.append(obs["critic"].clone())
        rewards.append(env.reward_manager._step_reward.clone())
    return torch.stack(observations), torch.stack(rewards)


first = episode()
for _ in range(30):
    env.step(4.0 * torch.rand(4, 12) - 2.0)
second = episode()
changed = {name for i, name in enumerate(names) if not torch.equal(first[1][..., i], second[1][..., i])}
print("observations are the same:", torch.equal(first[0], second[0]))
print("terms of the reward that differ:", changed)
print("largest difference:", round((first[1] - second[1]).abs().max().item(), 3))
assert torch.equal(first[0], second[0]) and changed == {"foot_swing_height"}, "The behaviour has changed."
PYTHON
