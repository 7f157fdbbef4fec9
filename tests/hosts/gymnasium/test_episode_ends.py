# SPDX-License-Identifier: BSD-3-Clause
"""A fall in the very step of Gymnasium's time limit is not bootstrapped."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.hosts.episode_ends import DUE, FALLS, check_episode_ends
from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.algorithms import TruDi
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv


@pytest.mark.parametrize("final_observations", [True, False])
def test_a_fall_in_the_step_of_the_time_limit_is_not_bootstrapped_and_last_observations_can_be_turned_off(
    final_observations: bool,
) -> None:
    env = GymnasiumVecEnv("InvertedPendulum-v5", 4, seed=0)
    lengths = torch.zeros(4, dtype=torch.long)
    lengths[DUE] = env.max_episode_length - 1
    env.episode_length_buf = lengths

    def fall() -> None:
        for index in FALLS:
            pendulum = env.unwrapped.envs[index].unwrapped
            # the task ends beyond an angle of 0.2
            pendulum.set_state(np.array([0.0, 0.5]), np.zeros(2))

    cfg = runner_cfg(final_observations=final_observations)
    algorithm = TruDi.construct_algorithm(env.get_observations(), env, cfg, "cpu")
    check_episode_ends(env, algorithm, fall, keeps_last=final_observations)
