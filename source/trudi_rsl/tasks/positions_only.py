# SPDX-License-Identifier: BSD-3-Clause
"""Tasks of Gymnasium without velocities: what a policy needs to know of the state takes several observations."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import WrapperSpec
from gymnasium.spaces import Box
from numpy.typing import NDArray


class PositionsOnly(gym.ObservationWrapper[NDArray[np.float64], Any, NDArray[np.float64]]):
    """Shows the first entries of an observation ``[O]``, which in Gymnasium's MuJoCo tasks are the positions.

    Args:
        env: An environment with a 1-D Box of observations.
        num_positions: Number of entries to show.
    """

    def __init__(self, env: gym.Env[NDArray[np.float64], Any], num_positions: int) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, Box)
        self._num_positions = num_positions
        self.observation_space = Box(space.low[:num_positions], space.high[:num_positions], dtype=np.float64)

    def observation(self, observation: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the positions ``[num_positions]``."""
        return observation[: self._num_positions]


def register(task: str, original: str, num_positions: int) -> None:
    """Register a task of Gymnasium under another name, with the first ``num_positions`` entries of its observations."""
    spec = gym.spec(original)
    gym.register(
        task,
        spec.entry_point,
        spec.reward_threshold,
        max_episode_steps=spec.max_episode_steps,
        # the checker takes as long as a step of the task
        disable_env_checker=True,
        additional_wrappers=(
            WrapperSpec("PositionsOnly", f"{__name__}:PositionsOnly", {"num_positions": num_positions}),
        ),
        kwargs=dict(spec.kwargs),
    )
