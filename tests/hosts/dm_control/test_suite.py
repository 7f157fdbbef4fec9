# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""Tasks of dm_control's suite: the same episodes as dm_control's own, an exact resume, and the whole product."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from dm_control import suite

from tests.hosts.gymnasium.test_resume import record, through_a_file
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.dm_control.env import DmControlVecEnv, SuiteTask

PAPER = (
    *("acrobot-swingup", "acrobot-swingup_sparse", "ball_in_cup-catch", "cartpole-balance", "cartpole-balance_sparse"),
    *("cartpole-swingup", "cartpole-swingup_sparse", "cheetah-run", "finger-spin", "finger-turn_easy"),
    *("finger-turn_hard", "fish-swim", "hopper-hop", "hopper-stand", "pendulum-swingup", "reacher-easy"),
    *("reacher-hard", "walker-run", "walker-stand", "walker-walk"),
)


def actions_for(env: DmControlVecEnv, steps: int) -> torch.Tensor:
    """Return random actions ``[steps, E, A]`` inside the bounds."""
    return env.action_low + (env.action_high - env.action_low) * torch.rand(steps, env.num_envs, env.num_actions)


@pytest.mark.parametrize("task", ["walker-walk", "reacher-hard", "finger-turn_easy"])
def test_every_output_equals_plain_dm_control_with_the_same_seed_and_actions(task: str) -> None:
    env = DmControlVecEnv(task, 2, seed=7, max_episode_steps=20)
    plain = [suite.load(*task.split("-"), task_kwargs={"random": 7 + i, "time_limit": np.inf}) for i in range(2)]

    def flat(result: Any) -> np.ndarray:
        return np.concatenate([np.ravel(value) for value in result.observation.values()]).astype(np.float32)

    first = np.stack([flat(p.reset()) for p in plain])
    np.testing.assert_array_equal(env.get_observations()["policy"], first)
    for step, action in enumerate(actions_for(env, 45), 1):
        obs, rewards, dones, extras = env.step(action)
        results = [p.step(action[i].double().numpy()) for i, p in enumerate(plain)]
        assert rewards.tolist() == [np.float32(result.reward) for result in results]
        assert dones.tolist() == [step % 20 == 0] * 2 == extras["time_outs"].tolist()
        if step % 20 == 0:
            np.testing.assert_array_equal(extras["final_obs"]["policy"], np.stack([flat(r) for r in results]))
            results = [p.reset() for p in plain]
        np.testing.assert_array_equal(obs["policy"], np.stack([flat(result) for result in results]))


@pytest.mark.parametrize("task", PAPER)
def test_a_resumed_task_continues_bitwise(task: str) -> None:
    env = DmControlVecEnv(task, 2, seed=1, max_episode_steps=12)
    env.episode_length_buf = torch.tensor([0, 5])
    actions = actions_for(env, 34)
    for action in actions[:16]:
        env.step(action)
    saved = through_a_file(env.state_dict())
    assert saved["exact"] is True
    never_stopped = record(env, actions[16:])
    resumed = DmControlVecEnv(task, 2, seed=99, max_episode_steps=12)
    for action in actions[:3]:
        resumed.step(action)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.load_state_dict(saved)
    assert record(resumed, actions[16:]) == never_stopped


def test_observations_keep_dm_controls_names_and_order() -> None:
    walker = DmControlVecEnv("walker-run", 1)
    terms = [(term["name"], term["size"]) for term in walker.observation_terms(["policy"])]
    assert terms == [("orientations", 14), ("height", 1), ("velocity", 9)]
    groups = DmControlVecEnv("walker-run", 1, obs="groups").get_observations()
    assert {name: group.shape[1] for name, group in groups.items()} == dict(terms)


def test_episodes_have_1000_steps_and_a_termination_at_the_limit_is_no_time_out(monkeypatch: Any) -> None:
    env = DmControlVecEnv("cartpole-balance", 1)
    assert env.max_episode_length == 1000
    assert env.step_dt == pytest.approx(0.01)
    env.episode_length_buf = torch.tensor([999])
    task = env.unwrapped.envs[0].unwrapped._env.task
    monkeypatch.setattr(task, "get_termination", lambda physics: 0.0)
    _, _, dones, extras = env.step(torch.zeros(1, 1))
    assert (dones.tolist(), extras["time_outs"].tolist()) == ([1], [False])


def test_wrong_names_options_and_missing_bounds_are_answered() -> None:
    with pytest.raises(ConfigError, match=r"no task 'walker-rum'.*'walker-run'"):
        DmControlVecEnv("walker-rum", 1)
    with pytest.raises(ConfigError, match="no option 'environment_kwarg'"):
        DmControlVecEnv("walker-run", 1, env_kwargs={"environment_kwarg": {}})
    with pytest.raises(ConfigError, match=r"no finite bounds.*env\.action_bounds"):
        DmControlVecEnv("lqr-lqr_2_1", 1)


def test_a_task_can_be_made_by_its_own_seed_of_any_size() -> None:
    env = SuiteTask("cartpole", "balance")
    first, _ = env.reset(seed=2**32 + 3)
    same, _ = env.reset(seed=3)
    assert all(np.array_equal(first[name], same[name]) for name in first)
