# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Loading a saved state in another process continues bitwise as without the interruption."""

from __future__ import annotations

import warnings

import pytest
import torch

from tests.hosts.maniskill.scripted import actions_for, record, through_a_file
from trudi_rsl.errors import CheckpointError
from trudi_rsl.hosts.maniskill.env import ManiSkillVecEnv

PUSH = "PushCube-v1"


@pytest.mark.parametrize(
    "task",
    [
        "TwoRobotPickCube-v1",
        *(pytest.param(task, marks=pytest.mark.nightly) for task in (PUSH, "StackCube-v1", "PlugCharger-v1")),
    ],
)
def test_resumed_episodes_continue_bitwise_in_another_process(task: str) -> None:
    env = ManiSkillVecEnv(task, 2, seed=1, max_episode_steps=8)
    env.episode_length_buf = torch.tensor([0, 3])
    # The saved step is inside the second episode of environment 1; both environments end episodes after it.
    actions = actions_for(env, 17)
    for action in actions[:7]:
        env.step(action)
    saved = through_a_file(env.state_dict())
    assert saved["exact"] is True
    never_stopped = record(env, actions[7:])

    resumed = ManiSkillVecEnv(task, 2, seed=99, max_episode_steps=8, workers=2)
    resumed.step(actions[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        resumed.load_state_dict(saved)
    assert record(resumed, actions[7:]) == never_stopped
    resumed.close()


def test_a_state_that_cannot_be_continued_starts_new_episodes_with_one_warning() -> None:
    env = ManiSkillVecEnv(PUSH, 1, seed=1)
    env.step(torch.zeros(1, 8))
    saved = env.state_dict()
    more = ManiSkillVecEnv(PUSH, 2)
    more.step(torch.zeros(2, 8))
    with pytest.warns(UserWarning, match=r"starts new episodes: the state is of 1 environments, not 2") as caught:
        more.load_state_dict(saved)
    assert (len(caught), more.episode_length_buf.tolist()) == (1, [0, 0])
    with pytest.warns(UserWarning, match=r"starts new episodes: .*GPU"):
        env.load_state_dict(saved | {"exact": False})
    with pytest.raises(CheckpointError, match=r"of task 'StackCube-v1'"):
        env.load_state_dict(saved | {"task": "StackCube-v1"})
    with pytest.raises(CheckpointError, match=r"7 actions.*has 8"):
        env.load_state_dict(saved | {"actions": saved["actions"][..., :7]})


def test_a_simulation_that_does_not_repeat_itself_is_reported() -> None:
    env = ManiSkillVecEnv(PUSH, 1, seed=1)
    for action in actions_for(env, 3):
        env.step(action)
    saved = through_a_file(env.state_dict())
    saved["actions"][0, 0, 0] += 0.5
    with pytest.warns(UserWarning, match=r"does not continue exactly: .* 1 of 1 environments"):
        env.load_state_dict(saved)
    assert env.episode_length_buf.tolist() == [3]
