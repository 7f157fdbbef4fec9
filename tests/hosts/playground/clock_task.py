# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""A hand-made task of Playground's registry without physics, whose every number can be predicted.

Observations are the steps of the episode and a number drawn at its start. The reward of step t is t. An episode
terminates at ``config.length``; an action entry above 0.9 makes the simulation NaN.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mujoco
from flax import struct
from ml_collections import config_dict
from mujoco_playground import dm_control_suite
from mujoco_playground._src import mjx_env

NAME = "Clock"
SUCCESS_AT = 2
"""Step in which an episode reports success."""


@struct.dataclass
class Data:
    """The fields of MJX's data that a host reads."""

    qpos: jax.Array
    qvel: jax.Array
    ctrl: jax.Array


def default_config() -> config_dict.ConfigDict:
    return config_dict.create(
        ctrl_dt=0.02, sim_dt=0.02, episode_length=10, action_repeat=1, length=1000, nested={"x": 1.0}
    )


class Clock(mjx_env.MjxEnv):
    def __init__(self, config: Any = None, config_overrides: Any = None) -> None:
        super().__init__(config or default_config(), config_overrides)
        self._model = mujoco.MjModel.from_xml_string("<mujoco/>")

    def reset(self, rng: jax.Array) -> mjx_env.State:
        start = jax.random.uniform(rng)
        data = Data(jnp.zeros(1), jnp.array([start]), jnp.zeros(2))
        metrics = {"reward/steps": jnp.zeros(()), "success": jnp.zeros(())}
        return mjx_env.State(data, self._get_obs(data, {}), jnp.zeros(()), jnp.zeros(()), metrics, {})

    def step(self, state: mjx_env.State, action: jax.Array) -> mjx_env.State:
        steps = state.data.qpos + 1.0
        data = Data(jnp.where((action > 0.9).any(), jnp.nan, steps), state.data.qvel, action)
        metrics = {"reward/steps": steps[0], "success": (steps[0] == SUCCESS_AT).astype(float)}
        done = ((steps[0] >= self._config.length) | jnp.isnan(data.qpos).any()).astype(float)
        return mjx_env.State(data, self._get_obs(data, state.info), steps[0], done, metrics, state.info)

    def _get_obs(self, data: Data, info: dict[str, Any]) -> dict[str, jax.Array]:
        del info
        state = jnp.concatenate([data.qpos, data.qvel])
        return {"state": state, "privileged_state": jnp.hstack([state, data.ctrl])}

    xml_path = ""
    action_size = 2

    @property
    def mj_model(self) -> Any:
        return self._model

    @property
    def mjx_model(self) -> Any:
        return self._model


dm_control_suite.register_environment(NAME, Clock, default_config)
