# SPDX-License-Identifier: BSD-3-Clause
"""Whole episodes are run without bias towards short ones, and their success is what the task reports."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from tests.evaluation.counting_tasks import LONG, SHORT, SHORT_OR_LONG, idle
from trudi_rsl.evaluation.episodes import Successes, evaluate
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv

REPORTING = {"success_key": "is_success"}
DONE = torch.tensor([True, False, True])


@pytest.mark.parametrize(("num_envs", "num_episodes"), [(8, 4), (8, 8), (8, 12), (4, 20), (2, 6), (1, 6)])
def test_the_mean_return_is_that_of_the_task_however_short_the_episodes_of_low_return(
    num_envs: int, num_episodes: int
) -> None:
    env = GymnasiumVecEnv(SHORT_OR_LONG, num_envs)
    results = evaluate(env, idle, num_episodes, progress=False)
    assert results.returns.shape == results.lengths.shape == (num_episodes,)
    assert results.returns.mean().item() == (SHORT + LONG) / 2
    assert torch.equal(results.returns, results.lengths.double())


def test_each_environment_gives_as_many_episodes_as_any_other_or_one_more() -> None:
    results = evaluate(GymnasiumVecEnv(SHORT_OR_LONG, 3), idle, 7, progress=False)
    # Environments 0 and 2 start with a short episode, environment 1 with a long one; quotas are 3, 2 and 2.
    assert results.lengths.tolist() == [SHORT, LONG, SHORT, LONG, SHORT, SHORT, LONG]


def test_episodes_start_at_fresh_resets_whatever_ran_before() -> None:
    env = GymnasiumVecEnv(SHORT_OR_LONG, 2)
    for _ in range(SHORT + 1):
        env.step(torch.zeros(2, 1))
    assert set(evaluate(env, idle, 4, progress=False).lengths.tolist()) == {SHORT, LONG}


def test_a_policy_with_memory_forgets_at_every_episode_start() -> None:
    class StepCounter:
        def __init__(self, num_envs: int) -> None:
            self.steps = torch.full((num_envs,), -100.0)

        def reset(self, dones: Tensor) -> None:
            self.steps[dones > 0] = 0.0

        def __call__(self, obs: TensorDict) -> Tensor:
            assert torch.equal(obs["policy"][:, 0], self.steps)
            self.steps += 1
            return torch.zeros(len(self.steps), 1)

        def act_inference(self, obs: TensorDict) -> Tensor:
            return self(obs)

    # what a runner of RSL-RL 4 and newer hands out, and one of RSL-RL 3
    for policy in (StepCounter(4), StepCounter(4).act_inference):
        assert len(evaluate(GymnasiumVecEnv(SHORT_OR_LONG, 4), policy, 10, progress=False).returns) == 10


@pytest.mark.parametrize(
    "options",
    [{}, {"success_key": "success"}, {"report_failures": False}],
    ids=["is_success", "success", "only successes reported"],
)
def test_success_is_that_of_the_last_step(options: dict[str, Any]) -> None:
    results = evaluate(GymnasiumVecEnv(SHORT_OR_LONG, 3, env_kwargs=REPORTING | options), idle, 7, progress=False)
    assert results.success is not None
    assert torch.equal(results.success, (results.lengths == LONG).double())


def test_a_task_without_a_report_has_no_success() -> None:
    for options in ({}, {"success_key": "score"}):
        env = GymnasiumVecEnv(SHORT_OR_LONG, 2, env_kwargs=options)
        assert evaluate(env, idle, 3, progress=False).success is None


def test_the_environment_reports_success_at_episode_ends_and_logs_its_mean() -> None:
    env = GymnasiumVecEnv(SHORT_OR_LONG, 2, env_kwargs=REPORTING)
    steps = [env.step(torch.zeros(2, 1)) for _ in range(LONG)]
    short, long = steps[SHORT - 1][3], steps[LONG - 1][3]
    assert short["success"][0] == 0.0
    assert short["success"][1].isnan()
    assert short["log"]["Episode/success"] == 0.0
    assert long["success"][1] == 1.0
    assert "success" not in steps[0][3]


@pytest.mark.parametrize("name", ["Metrics/success_rate", "success", "Episode/is_success"])
@pytest.mark.parametrize("section", ["log", "episode"])
def test_a_mean_that_a_host_logs_counts_for_each_episode_that_ended(section: str, name: str) -> None:
    found = Successes(3, "cpu").update({section: {"Episode_Reward/speed": 3.0, name: torch.tensor(0.25)}}, DONE)
    assert found is not None
    assert found[DONE].tolist() == [0.25, 0.25]
    assert found[~DONE].isnan().all()


def test_numbers_of_terminations_are_not_shares_of_successes() -> None:
    assert Successes(3, "cpu").update({"log": {"Episode_Termination/success": 2.0}}, DONE) is None
    assert Successes(3, "cpu").update({}, DONE) is None


def test_success_that_an_environment_reports_at_every_step_counts_at_any() -> None:
    collected = Successes(3, "cpu")
    first = collected.update({"success": torch.tensor([1.0, 0.0, 0.0])}, ~DONE)
    assert first is not None and first[DONE].isnan().all()
    found = collected.update({"success": torch.tensor([False, True, False])}, DONE)
    assert found is not None and found[DONE].tolist() == [1.0, 0.0]
    again = collected.update({}, torch.ones(3, dtype=torch.bool))
    assert again is not None and again.isnan().tolist() == [True, False, True]


@pytest.mark.parametrize("report", ["yes", {"left": True}, [1.0, [2.0]], torch.zeros(2, 3), None])
def test_a_success_of_another_form_is_ignored(report: Any) -> None:
    assert Successes(3, "cpu").update({"success": report, "log": {"success": report}}, DONE) is None
