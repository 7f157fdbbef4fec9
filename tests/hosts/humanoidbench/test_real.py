# SPDX-License-Identifier: BSD-3-Clause
"""All 30 tasks of the real HumanoidBench, where a copy of its repository is installed (docs/humanoidbench.md)."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from tests.hosts.gymnasium.test_resume import record, through_a_file
from trudi_rsl.hosts.humanoidbench.env import HumanoidBenchVecEnv

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("humanoid_bench") is None, reason="HumanoidBench is not installed"),
]
SIZES = {
    **dict.fromkeys(("walk", "stand", "run", "crawl", "hurdle", "stair", "slide", "pole", "maze", "sit_simple"), 151),
    **{"reach": 157, "sit_hard": 164, "balance_simple": 164, "balance_hard": 177, "push": 163, "package": 173},
    **{"powerlift": 164, "room": 229, "cabinet": 213, "door": 155, "truck": 216, "cube": 181, "bookshelf_simple": 308},
    **{"bookshelf_hard": 308, "basketball": 164, "window": 171, "spoon": 167, "kitchen": 97},
    **{"insert_normal": 190, "insert_small": 190},
}
"""Entries of the observation by task."""


@pytest.mark.parametrize("task", SIZES)
def test_a_seed_determines_the_episodes_and_a_resume_continues_them_bitwise(task: str) -> None:
    name = f"h1hand-{task}-v0"
    np.random.seed(1)
    env = HumanoidBenchVecEnv(name, 2, seed=5, max_episode_steps=20)
    first = env.get_observations()["policy"]
    assert first.shape == (2, SIZES[task]) and env.num_actions == 61
    env.episode_length_buf = torch.tensor([0, 6])
    actions = torch.rand(44, 2, 61) * 2.0 - 1.0
    for action in actions[:16]:
        env.step(action)
    state = through_a_file(env.state_dict())
    assert state["exact"] is True, state["inexact_because"]
    never_stopped = record(env, actions[16:])

    np.random.seed(2)
    resumed = HumanoidBenchVecEnv(name, 2, seed=5, max_episode_steps=20)
    assert torch.equal(resumed.get_observations()["policy"], first)
    resumed.seed(99)
    for action in actions[:3]:
        resumed.step(action)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.load_state_dict(state)
    assert record(resumed, actions[16:]) == never_stopped
