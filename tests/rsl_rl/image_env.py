# SPDX-License-Identifier: BSD-3-Clause
"""A simulator with cameras, and PPO's sections for it."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from tests.properties.small_env import SmallEnv, make
from trudi_rsl.algorithms import TruDi

NUM_ENVS, NUM_STEPS = 4, 5
SHAPES = {"camera": (3, 8, 8), "depth": (1, 8, 6)}
CNN: dict[str, Any] = {"output_channels": [4], "kernel_size": 3, "stride": 2, "activation": "elu"}
ENCODER = {"class_name": "CNNModel", "cnn_cfg": CNN}
GROUPS = {"actor": ["policy", "camera", "depth"], "critic": ["depth", "privileged"]}
TINY: dict[str, Any] = {
    **{"num_denoise_steps": 2, "actor_hidden_dims": [8], "critic_hidden_dim": 8, "num_bins": 11, "compile": "off"},
    **{"num_learning_epochs": 1, "num_mini_batches": 2, "value_range": [-100.0, 100.0]},
}


class ImageEnv(SmallEnv):
    """Vectors, a camera of bytes, and a depth camera of floats."""

    def __init__(self) -> None:
        super().__init__(NUM_ENVS, 2, {"policy": 3, "privileged": 2})

    def get_observations(self) -> TensorDict:
        obs = super().get_observations()
        obs["camera"] = torch.randint(256, (NUM_ENVS, *SHAPES["camera"]), dtype=torch.uint8)
        obs["depth"] = torch.rand(NUM_ENVS, *SHAPES["depth"])
        return obs


def build(groups: dict[str, list[str]] | None = None, **settings: Any) -> TruDi:
    """Return TruDi whose actor and critic see images."""
    torch.manual_seed(0)
    groups = groups or GROUPS
    section = TINY | {"actor_encoder": ENCODER, "critic_encoder": ENCODER} | settings
    return make(ImageEnv(), NUM_STEPS, section, groups["actor"], groups["critic"])


def ppo_cfg(class_name: Any, **algorithm: Any) -> dict[str, Any]:
    """Return a PPO configuration of RSL-RL 5 with networks for images, in which the algorithm's class is replaced."""
    cnn = {"class_name": "CNNModel", "hidden_dims": [8], "activation": "elu", "cnn_cfg": CNN}
    return {
        **{"num_steps_per_env": NUM_STEPS, "save_interval": 100, "max_iterations": 1, "obs_groups": dict(GROUPS)},
        "actor": cnn | {"distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0}},
        "critic": cnn | {"obs_normalization": True},
        "algorithm": {"class_name": class_name, "clip_param": 0.2, **algorithm},
    }


def state(trudi: TruDi) -> dict[str, Tensor]:
    """Return copies of all that is learned."""
    return {name: value.clone() for name, value in trudi.actor_critic.state_dict().items()}
