# SPDX-License-Identifier: BSD-3-Clause
"""A simulator whose state a checkpoint can hold, and PPO's sections of recurrent networks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tests.properties.small_env import SmallEnv, make
from tests.rsl_rl.image_env import TINY
from trudi_rsl.algorithms import TruDi

NUM_ENVS, NUM_STEPS = 4, 6
LSTM: dict[str, Any] = {"class_name": "RNNModel", "rnn_type": "lstm", "rnn_hidden_dim": 5, "rnn_num_layers": 2}
GRU: dict[str, Any] = {"class_name": "RNNModel", "rnn_type": "gru", "rnn_hidden_dim": 6, "rnn_num_layers": 1}
GROUPS = {"actor": ["policy"], "critic": ["policy", "privileged"]}


class MemoryEnv(SmallEnv):
    """Random observations; its only state is that of torch's generator, which checkpoints hold anyway."""

    def __init__(self) -> None:
        super().__init__(NUM_ENVS, 2, {"policy": 3, "privileged": 2})

    def reset(self) -> tuple[Any, dict[str, Any]]:
        return self.get_observations(), {}

    @property
    def unwrapped(self) -> MemoryEnv:
        return self

    def _reset_idx(self, ids: Tensor) -> None:
        pass  # each observation is the first of an episode

    def state_dict(self) -> dict[str, Any]:
        return {"exact": True, "num_envs": self.num_envs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def build(actor: Any = GRU, critic: Any = LSTM, policy: str = "diffusion", **settings: Any) -> TruDi:
    """Return TruDi, or REPPO, whose actor and critic remember, unless a section is None."""
    torch.manual_seed(0)
    section = TINY | {"actor_encoder": actor, "critic_encoder": critic, "actor": policy} | settings
    return make(MemoryEnv(), NUM_STEPS, section, GROUPS["actor"], GROUPS["critic"])


def collect(trudi: TruDi, env: SmallEnv, num_steps: int = NUM_STEPS, alter: Any = lambda obs: obs) -> None:
    """Fill a rollout, and compute its targets if it is whole."""
    trudi.train_mode()
    obs = alter(env.get_observations())
    with torch.inference_mode():
        for _ in range(num_steps):
            obs, reward, dones, extras = env.step(trudi.act(obs))
            obs = alter(obs)
            trudi.process_env_step(obs, reward, dones, extras)
        if num_steps == NUM_STEPS:
            trudi.compute_returns(obs)


def ppo_cfg(class_name: Any, **algorithm: Any) -> dict[str, Any]:
    """Return a PPO configuration of RSL-RL 5 with recurrent networks, in which the algorithm's class is replaced."""
    rnn = {"hidden_dims": [8], "activation": "elu"}
    return {
        **{"num_steps_per_env": NUM_STEPS, "save_interval": 100, "max_iterations": 1, "obs_groups": dict(GROUPS)},
        "actor": rnn | GRU | {"distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0}},
        "critic": rnn | LSTM | {"obs_normalization": True},
        "algorithm": {"class_name": class_name, "clip_param": 0.2, **algorithm},
    }


def state(trudi: TruDi) -> dict[str, Tensor]:
    """Return copies of all that is learned, and of the memory."""
    learned = {name: value.clone() for name, value in trudi.actor_critic.state_dict().items()}
    return learned | {f"memory of the {name}": value.clone() for name, value in trudi.memory.states.items()}
