# SPDX-License-Identifier: BSD-3-Clause
"""Falls in Isaac Lab 2.3 are not bootstrapped, also in the step of the time limit: managers' and direct tasks'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.hosts.episode_ends import DUE, FALLS, check_episode_ends
from tests.hosts.isaaclab_2_3 import managed_point_task, point_task


@pytest.mark.parametrize(("task", "last_length"), [(point_task.TASK, 2), (managed_point_task.TASK, 1)])
def test_a_fall_is_not_bootstrapped_and_neither_is_the_next_episode(
    task: str, last_length: int, make_runner: Callable[..., Any], tmp_path: Path
) -> None:
    runner = make_runner(tmp_path, task=task, num_envs=4)
    env = runner.env
    env.reset()
    env.episode_length_buf[:] = 0
    env.episode_length_buf[DUE] = env.max_episode_length - last_length

    def fall() -> None:
        env.unwrapped.position[FALLS] = torch.tensor([9.0, 9.0])

    # Isaac Lab 2.3 does not return last observations
    check_episode_ends(env, runner.alg, fall, keeps_last=False)
