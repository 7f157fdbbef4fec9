# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Terminations, time-outs, last observations and faults, on a task whose ends are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.hosts.maniskill.scripted import SCRIPTED, actions_for
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.hosts.maniskill.env import ManiSkillVecEnv


def scripted(num_envs: int = 1, **options: Any) -> ManiSkillVecEnv:
    named = {name: options.pop(name) for name in ("success_at", "fail_at", "nan_at") if name in options}
    return ManiSkillVecEnv(SCRIPTED, num_envs, env_kwargs=named, **options)


def end(env: ManiSkillVecEnv, most: int = 6) -> tuple[int, bool, float]:
    """Return step, time-out and success of the first end of environment 0."""
    for step, action in enumerate(actions_for(env, most), start=1):
        _, _, dones, extras = env.step(action)
        if dones[0]:
            return step, bool(extras["time_outs"][0]), float(extras["success"][0])
    raise AssertionError("no end")


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        # step, whether the learner bootstraps, success
        ({"success_at": 3}, {"bootstrap": (3, True, 1), "terminate": (3, False, 1), "ignore": (5, True, 0)}),
        ({"fail_at": 3}, dict.fromkeys(("bootstrap", "terminate", "ignore"), (3, False, 0))),
        ({}, dict.fromkeys(("bootstrap", "terminate", "ignore"), (5, True, 0))),
        ({"fail_at": 5}, dict.fromkeys(("bootstrap", "terminate", "ignore"), (5, False, 0))),
        ({"success_at": 5}, {"bootstrap": (5, True, 1), "terminate": (5, False, 1), "ignore": (5, True, 1)}),
        ({"success_at": 3, "fail_at": 3}, dict.fromkeys(("bootstrap", "terminate", "ignore"), (3, False, 1))),
    ],
)
def test_only_ends_that_are_no_terminations_are_bootstrapped(ends: dict[str, int], expected: dict[str, Any]) -> None:
    for on_success, outcome in expected.items():
        env = scripted(on_success=on_success, max_episode_steps=5, **ends)
        assert end(env) == outcome, on_success


def test_the_last_observation_is_that_of_the_ended_episode_and_the_next_that_of_a_new_one() -> None:
    env = scripted(2, success_at=3)
    env.episode_length_buf = torch.tensor([0, 1])  # the step of an episode counts from its offset
    seen = []
    for action in actions_for(env, 6):
        obs, rewards, dones, extras = env.step(action)
        if dones.any():
            seen.append((dones.tolist(), extras["final_obs"]["policy"][:, -1].tolist(), obs["policy"][:, -1].tolist()))
            kept = ~dones.bool()
            assert torch.equal(extras["final_obs"]["policy"][kept], obs["policy"][kept])
            assert torch.equal(extras["final_obs"]["policy"][:, -1], rewards)
    assert seen == [
        ([0, 1], [2, 3], [2, 0]),
        ([1, 0], [3, 1], [0, 1]),
        ([0, 1], [2, 3], [2, 0]),
        ([1, 0], [3, 1], [0, 1]),
    ]


def test_success_once_counts_earlier_success_where_it_does_not_end_the_episode() -> None:
    env = scripted(success_at=2, on_success="ignore", max_episode_steps=4)
    logs = [env.step(action)[3].get("log") for action in actions_for(env, 8)]
    names = ("return", "length", "success", "success_once")
    expected = {f"Episode/{name}": value for name, value in zip(names, (10.0, 4.0, 0.0, 1.0), strict=True)}
    assert logs == [None, None, None, expected] * 2


def test_a_faulty_environment_restarts_alone_and_its_transition_is_masked() -> None:
    # NaN comes in episodes with even seeds; of these seeds, environment 0 has an odd one and environment 1 an even one
    env = scripted(2, nan_at=2, seed=seed_with_parities(1, 0))
    env.restarts_faulty = True
    first, second = actions_for(env, 2)
    env.step(first)
    with pytest.warns(UserWarning, match=r"NaN or infinity in 1 of 2 environments, first in environment 1, 2 steps"):
        obs, rewards, dones, extras = env.step(second)
    assert (dones.tolist(), extras["time_outs"].tolist(), rewards.tolist()) == ([0, 1], [False, True], [2.0, 0.0])
    assert extras["final_obs"]["policy"].isnan().all(1).tolist() == [False, True]
    assert obs["policy"][:, -1].tolist() == [2.0, 0.0]
    assert obs["policy"].isfinite().all()


def test_a_fault_is_an_error_in_an_evaluation_and_where_it_does_not_end() -> None:
    env = scripted(2, nan_at=2, seed=seed_with_parities(1, 0))
    env.step(actions_for(env, 1)[0])
    with pytest.raises(NonFiniteError, match=r"observation\[\d+\] is nan in environment 1, 2 steps into its episode"):
        env.step(actions_for(env, 1)[0])
    always = scripted(1, nan_at=1, seed=seed_with_parities(0))
    always.restarts_faulty = True
    with pytest.raises(NonFiniteError, match=r"environment 0"):
        always.step(actions_for(always, 1)[0])
    with pytest.raises(NonFiniteError, match=r"the policy's action"):
        env.step(torch.full((2, env.num_actions), torch.nan))


def test_random_initial_lengths_end_the_first_episodes_at_different_steps() -> None:
    env = scripted(3, max_episode_steps=10)
    env.episode_length_buf = torch.tensor([9, 0, 5])
    ends = []
    for step, action in enumerate(actions_for(env, 15), start=1):
        _, _, dones, extras = env.step(action)
        assert torch.equal(extras["time_outs"], dones.bool())
        ends += [(step, i, float(extras["log"]["Episode/length"])) for i in dones.nonzero().flatten().tolist()]
    assert ends == [(1, 0, 1), (5, 2, 5), (10, 1, 10), (11, 0, 10), (15, 2, 10)]
    assert env.episode_length_buf.tolist() == [4, 5, 0]


def seed_with_parities(*parities: int) -> int:
    """Return a seed with which the first episode of environment i has a seed of the i-th parity."""
    from trudi_rsl.hosts.maniskill.env import episode_seed

    return next(s for s in range(100) if [episode_seed(s + i, 0) % 2 for i in range(len(parities))] == list(parities))
