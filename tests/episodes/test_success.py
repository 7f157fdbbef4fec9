# SPDX-License-Identifier: BSD-3-Clause
"""Success is what the task says of each episode's last step, and nothing where it says nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from tests.evaluation import counting_tasks
from tests.evaluation.counting_tasks import LONG, SHORT
from trudi_rsl.evaluation.episodes import evaluate, successes
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv

TASK = f"{counting_tasks.__name__}:trudi-tests/Telling-v0"
DONE = torch.tensor([True, False, True])


def idle(obs: TensorDict) -> Tensor:
    return torch.zeros(obs.batch_size[0], 1)


@pytest.mark.parametrize(
    "options",
    [{}, {"key": "success"}, {"always": False}],
    ids=["is_success", "success", "told of successes alone"],
)
def test_an_episode_succeeded_if_its_last_step_says_so(options: dict[str, Any]) -> None:
    results = evaluate(GymnasiumVecEnv(TASK, 3, env_kwargs=options), idle, 7, progress=False)
    assert results.success is not None
    assert torch.equal(results.success, (results.lengths == LONG).double())


def test_a_task_that_tells_nothing_has_no_success() -> None:
    silent = GymnasiumVecEnv(f"{counting_tasks.__name__}:trudi-tests/ShortOrLong-v0", 2)
    assert evaluate(silent, idle, 3, progress=False).success is None
    assert evaluate(GymnasiumVecEnv(TASK, 2, env_kwargs={"key": "score"}), idle, 3, progress=False).success is None


def test_the_environment_tells_success_where_episodes_end_and_logs_its_mean() -> None:
    env = GymnasiumVecEnv(TASK, 2)
    steps = [env.step(torch.zeros(2, 1)) for _ in range(LONG)]
    short, long = steps[SHORT - 1][3], steps[LONG - 1][3]
    assert short["success"][0] == 0.0
    assert short["success"][1].isnan()
    assert short["log"]["Episode/success"] == 0.0
    assert long["success"][1] == 1.0
    assert "success" not in steps[0][3]


@pytest.mark.parametrize("name", ["Metrics/success_rate", "success", "Episode/is_success"])
@pytest.mark.parametrize("section", ["log", "episode"])
def test_what_a_host_logs_is_given_to_the_episodes_that_ended(section: str, name: str) -> None:
    found = successes({section: {"Episode_Reward/speed": 3.0, name: torch.tensor(0.25)}}, DONE)
    assert found is not None
    assert found[DONE].tolist() == [0.25, 0.25]
    assert found[~DONE].isnan().all()


def test_a_number_of_terminations_is_no_share_of_successes() -> None:
    assert successes({"log": {"Episode_Termination/success": 2.0}}, DONE) is None
    assert successes({}, DONE) is None
