# SPDX-License-Identifier: BSD-3-Clause
"""Falls in Isaac Lab are not bootstrapped, also in the step of the time limit: managers' and direct tasks'."""

from __future__ import annotations

import pytest

from tests.hosts.episode_ends import DUE, FALLS, check_episode_ends
from tests.hosts.isaaclab_3_0.in_process import make
from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.algorithms import TruDi


@pytest.mark.slow
@pytest.mark.parametrize("task", ["Isaac-Cartpole", "Isaac-Cartpole-Direct"])
def test_a_fall_is_not_bootstrapped_and_a_time_limit_is(task: str) -> None:
    with make(task, num_envs=4) as env:
        env.episode_length_buf[DUE] = env.max_episode_length - 1
        (robot,) = env.unwrapped.scene.articulations.values()

        def fall() -> None:
            position = robot.data.joint_pos.torch[FALLS].clone()
            position[:, robot.joint_names.index("slider_to_cart")] = 3.5  # the track ends at 3
            robot.write_joint_position_to_sim_index(position=position, env_ids=FALLS)

        algorithm = TruDi.construct_algorithm(env.get_observations(), env, runner_cfg(), "cpu")
        check_episode_ends(env, algorithm, fall, keeps_last=True)
