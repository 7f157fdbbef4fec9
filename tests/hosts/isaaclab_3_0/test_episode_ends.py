# SPDX-License-Identifier: BSD-3-Clause
"""Falls in Isaac Lab are not bootstrapped, also in the step of the time limit: managers' and direct tasks'."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
from isaaclab.app import launch_simulation  # pyright: ignore[reportMissingImports]
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]

from tests.hosts.episode_ends import DUE, FALLS, check_episode_ends
from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.algorithms import TruDi


@pytest.mark.slow
@pytest.mark.parametrize(("task", "last_length"), [("Isaac-Cartpole", 1), ("Isaac-Cartpole-Direct", 2)])
def test_a_fall_is_not_bootstrapped_and_a_time_limit_is(task: str, last_length: int) -> None:
    import isaaclab_tasks  # noqa: F401  # pyright: ignore[reportMissingImports]

    cfg: Any = load_cfg_from_registry(task, "env_cfg_entry_point")
    cfg.scene.num_envs, cfg.sim.device, cfg.seed = 4, "cpu", 0
    with launch_simulation(cfg):
        env = RslRlVecEnvWrapper(gym.make(task, cfg=cfg))
        env.episode_length_buf[DUE] = env.max_episode_length - last_length
        (robot,) = env.unwrapped.scene.articulations.values()

        def fall() -> None:
            position = robot.data.joint_pos.torch[FALLS].clone()
            position[:, robot.joint_names.index("slider_to_cart")] = 3.5  # the track ends at 3
            robot.write_joint_position_to_sim_index(position=position, env_ids=FALLS)

        algorithm = TruDi.construct_algorithm(env.get_observations(), env, runner_cfg(), "cpu")
        check_episode_ends(env, algorithm, fall, keeps_last=True)
        env.close()
