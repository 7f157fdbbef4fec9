# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Falls of mjlab's flat G1 are not bootstrapped, also in the step of the time limit."""

from __future__ import annotations

import contextlib

import pytest
import torch
from mjlab.rl import RslRlVecEnvWrapper

from tests.deploy.drift import runner_cfg
from tests.hosts.episode_ends import DUE, FALLS, check_episode_ends
from trudi_rsl.algorithms import TruDi
from trudi_rsl.hosts.mjlab.runners import last_observations


@pytest.mark.parametrize("keeps_last", [True, False], ids=["our runner", "mjlab's own step"])
def test_a_fall_is_not_bootstrapped_and_a_time_limit_is(g1: RslRlVecEnvWrapper, keeps_last: bool) -> None:
    with torch.inference_mode():  # the steps of the other test made the environment's buffers inference tensors
        g1.seed(1)
        g1.reset()
        g1.episode_length_buf[:] = 0
        g1.episode_length_buf[DUE] = g1.max_episode_length - 1

    def fall() -> None:
        robot, ids = g1.unwrapped.scene["robot"], torch.tensor(FALLS)
        pose = torch.cat((robot.data.root_link_pos_w, robot.data.root_link_quat_w), dim=-1)[ids].clone()
        pose[:, 3:] = torch.tensor([0.0, 1.0, 0.0, 0.0])  # upside down
        robot.write_root_link_pose_to_sim(pose, env_ids=ids)

    cfg = runner_cfg() | {"obs_groups": {"actor": ["actor"], "critic": ["critic"]}}
    algorithm = TruDi.construct_algorithm(g1.get_observations(), g1, cfg, "cpu")
    with last_observations(g1) if keeps_last else contextlib.nullcontext(g1) as env:
        check_episode_ends(env, algorithm, fall, keeps_last)
