# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""A ManiSkill task whose ends are chosen, and recording what environments return."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from mani_skill.envs.tasks import PushCubeEnv
from mani_skill.utils.registration import register_env

from trudi_rsl.hosts.maniskill.env import ManiSkillVecEnv

SCRIPTED = "tests.hosts.maniskill.scripted:TrudiScripted-v1"
NEVER = -1


@register_env("TrudiScripted-v1", max_episode_steps=50)
class ScriptedEnv(PushCubeEnv):
    """A cube to push whose success, failure and NaN come at chosen steps of each episode.

    Its observation ends with the step and its reward is the step. Runs in the worker processes, too.
    """

    def __init__(
        self, *args: Any, success_at: int = NEVER, fail_at: int = NEVER, nan_at: int = NEVER, **kwargs: Any
    ) -> None:
        """Make the task; step 1 is the first after a reset."""
        self._at = {"success": success_at, "fail": fail_at}
        self._nan_at, self._first_seed = nan_at, None
        super().__init__(*args, **kwargs)

    def evaluate(self) -> dict[str, torch.Tensor]:
        return {name: self.elapsed_steps == step for name, step in self._at.items()}

    def _get_obs_extra(self, info: dict) -> dict[str, torch.Tensor]:
        steps = self.elapsed_steps.float()
        is_nan = (self.elapsed_steps == self._nan_at) & (torch.as_tensor(self._episode_seed) % 2 == 0)
        return {"goal": self.goal_region.pose.p, "step": torch.where(is_nan, torch.nan, steps)[:, None]}

    def compute_normalized_dense_reward(self, obs: Any, action: torch.Tensor, info: dict) -> torch.Tensor:
        return self.elapsed_steps.float()


def actions_for(env: ManiSkillVecEnv, steps: int) -> torch.Tensor:
    """Return random actions ``[steps, E, A]`` inside the bounds."""
    span = env.action_high - env.action_low
    return env.action_low + span * torch.rand(steps, env.num_envs, env.num_actions)


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """Return ``state`` after saving and loading it as a checkpoint, without unpickling objects."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def record(env: ManiSkillVecEnv, actions: torch.Tensor) -> list[Any]:
    """Return all outputs of the environment for ``actions`` as lists, which compare bitwise."""
    outputs = []
    for action in actions:
        obs, rewards, dones, extras = env.step(action)
        final = extras["final_obs"]["policy"].tolist() if "final_obs" in extras else None
        log = {name: float(value) for name, value in extras.get("log", {}).items()}
        success = None if "success" not in extras else np.array2string(extras["success"].numpy())
        outputs.append((obs["policy"].tolist(), rewards.tolist(), dones.tolist(), final, log, success))
        outputs.append((extras["time_outs"].tolist(), env.episode_length_buf.tolist()))
    return outputs
