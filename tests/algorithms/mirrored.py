# SPDX-License-Identifier: BSD-3-Clause
"""A project's symmetry function, and an algorithm that uses one."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from tests.properties.small_env import SmallEnv, make
from trudi_rsl.algorithms import TruDi

TINY: dict[str, Any] = {
    **{"num_denoise_steps": 2, "actor_hidden_dims": [8], "critic_hidden_dim": 8, "num_bins": 11, "compile": "off"},
    **{"num_learning_epochs": 1, "num_mini_batches": 2},
}


def of_obs(obs: Tensor) -> Tensor:
    return obs[..., [1, 0, 2]] * torch.tensor([1.0, 1.0, -1.0])


def mirror(env: Any, obs: TensorDict | None = None, actions: Tensor | None = None) -> tuple[Any, Any]:
    """Return observations and actions, and both mirrored."""
    if obs is not None:
        image = obs.clone()
        image["policy"] = of_obs(obs["policy"])
        obs = torch.cat([obs, image])  # pyright: ignore
    return obs, None if actions is None else torch.cat([actions, actions.flip(-1)])


def build(env: SmallEnv, use: dict[str, Any] | None, critic: list[str] | None = None, **settings: Any) -> TruDi:
    torch.manual_seed(0)
    section = None if use is None else {"data_augmentation_func": mirror, **use}
    return make(env, 5, TINY | {"symmetry_cfg": section} | settings, ["policy"], critic or ["policy"])
