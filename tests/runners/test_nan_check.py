# SPDX-License-Identifier: BSD-3-Clause
"""NaN ends the training of PPO and its relatives before anything is learned from it, and the policy so far is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.algorithms.faulty_host import TASK
from tests.runners.test_evaluation import ppo_cfg
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

pytestmark = pytest.mark.skipif(not PPO_MODELS, reason="RSL-RL 5 has the models")


class NaNAt(GymnasiumVecEnv):
    """Returns NaN among the observations or rewards of one step."""

    where, at, steps = "rewards", 6, 0

    def step(self, actions: torch.Tensor) -> Any:
        assert torch.isfinite(actions).all(), "NaN does not come back as an action"
        obs, rewards, dones, extras = super().step(actions)
        self.steps += 1
        if self.steps == self.at:
            (rewards if self.where == "rewards" else obs["policy"][:, 0])[1] = torch.nan
        return obs, rewards, dones, extras


@pytest.mark.parametrize("algorithm", ["PPO", "trudi_rsl.algorithms:SPO"])
@pytest.mark.parametrize(("where", "named"), [("rewards", "rewards"), ("obs", "observation group 'policy'")])
def test_nothing_is_learned_from_a_rollout_with_nan(algorithm: str, where: str, named: str, tmp_path: Path) -> None:
    env = NaNAt(TASK, 3)
    env.where = where
    cfg: dict[str, Any] = ppo_cfg() | {"num_steps_per_env": 4, "save_interval": 1}
    cfg["algorithm"]["class_name"] = algorithm
    runner = OnPolicyRunner(env, cfg, str(tmp_path), "cpu")
    with pytest.raises(ValueError, match=f"The {named} returned .* NaN at step 1 of the rollout"):
        runner.learn(4)
    assert env.steps == 8, "the rollout is completed"
    before, rescued = (read_checkpoint(tmp_path / name) for name in ("model_0.pt", "model_0_rescued.pt"))
    for part in ("actor_state_dict", "critic_state_dict"):
        for name, value in rescued[part].items():
            assert torch.isfinite(value).all()
            assert "normalizer" in name or torch.equal(value, before[part][name])
