# SPDX-License-Identifier: BSD-3-Clause
"""In training, an environment whose simulator returns NaN is reset and the others go on."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner

CLOCK = "tests.hosts.gymnasium_tasks:trudi-tests/Clock-v0"
FAULTY, NUM_ENVS = 1, 3


def clock(restarts_faulty: bool = True, **options: Any) -> GymnasiumVecEnv:
    """Return environments of which one returns NaN at the third step of its first episode."""
    kwargs = {"nan_at": 3, "nan_seed": 10 + FAULTY} | options
    env = GymnasiumVecEnv(CLOCK, NUM_ENVS, seed=10, max_episode_steps=5, env_kwargs=kwargs)
    env.restarts_faulty = restarts_faulty
    return env


def steps(env: GymnasiumVecEnv, number: int) -> list[Any]:
    """Step with zero actions and return the results."""
    return [env.step(torch.zeros(NUM_ENVS, 2)) for _ in range(number)]


@pytest.mark.parametrize(
    "options", [{}, {"nan_in": "reward"}, {"length": 3}, {"nan_in": "reward", "length": 3}], ids=str
)
def test_a_faulty_environment_is_truncated_with_reward_0_and_the_others_are_unchanged(options: dict[str, Any]) -> None:
    never: dict[str, Any] = options | {"nan_at": None}
    env, healthy = clock(**options), clock(**never)
    with pytest.warns(UserWarning, match="in 1 of 3 .* environment 1, 3 steps into its episode and 3 since") as warned:
        *_, (obs, rewards, dones, extras) = steps(env, 3)
    assert warned[0].filename == __file__, "the line that stepped"
    *_, (well, paid, ended, _) = steps(healthy, 3)
    others = [i for i in range(NUM_ENVS) if i != FAULTY]
    assert torch.equal(obs["policy"][others], well["policy"][others])
    assert torch.equal(rewards[others], paid[others]) and torch.equal(dones[others], ended[others])
    assert (dones[FAULTY], extras["time_outs"][FAULTY], rewards[FAULTY]) == (1, True, 0.0)
    assert obs["policy"][FAULTY].tolist() == [0.0, 1.0]
    assert not torch.isfinite(extras["final_obs"]["policy"][FAULTY]).any()
    assert torch.isfinite(extras["final_obs"]["policy"][others]).all()
    assert env.episode_length_buf[FAULTY] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        later = steps(env, 6)
    assert all(torch.isfinite(answer[0]["policy"]).all() for answer in later)


@pytest.mark.parametrize("nan_in", ["observation", "reward"])
@pytest.mark.parametrize("restarts_faulty", [True, False])
def test_a_number_beyond_float32_counts_as_infinite(nan_in: str, restarts_faulty: bool) -> None:
    env = clock(restarts_faulty, nan=1e300, nan_in=nan_in)
    if restarts_faulty:
        with pytest.warns(UserWarning, match="NaN or infinity in 1 of 3"):
            *_, (obs, rewards, dones, _) = steps(env, 3)
        assert torch.isfinite(obs["policy"]).all() and torch.isfinite(rewards).all() and dones[FAULTY] == 1
    else:
        with pytest.raises(NonFiniteError, match="is inf in environment 1, 3 steps"):
            steps(env, 3)


def test_a_fault_outside_of_training_or_in_all_environments_is_an_error() -> None:
    with pytest.raises(NonFiniteError, match="is nan in environment 1, 3 steps"):
        steps(clock(restarts_faulty=False), 3)
    with pytest.raises(NonFiniteError, match="is nan in environment 0, 3 steps"):
        steps(clock(nan_seed=None), 3)


@pytest.mark.filterwarnings("ignore:.*NaN or infinity in")
def test_an_environment_that_is_faulty_again_right_after_its_restart_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = clock()
    task = env.unwrapped.envs[FAULTY].unwrapped
    answer = task.step
    steps(env, 2)
    monkeypatch.setattr(task, "step", lambda action: (answer(action)[0], np.nan, False, False, {}))
    steps(env, 1)
    with pytest.raises(NonFiniteError, match="reward is nan in environment 1, 1 steps into its episode"):
        steps(env, 1)


@pytest.mark.filterwarnings("ignore:.*NaN or infinity in")
def test_training_masks_the_transition_of_a_restarted_environment() -> None:
    runner: Any = OnPolicyRunner(clock(restarts_faulty=False), runner_cfg(), None, "cpu")
    valid, update = [], runner.alg.learner.update

    def counting_update(batch: Any, steps: int) -> Any:
        valid.append(batch.target_valid.sum().item())
        return update(batch, steps)

    runner.alg.learner.update = counting_update
    runner.learn(2)
    rollout = runner_cfg()["num_steps_per_env"] * NUM_ENVS
    # Two epochs of two rollouts; one transition of the first rollout has no target.
    assert sum(valid) == 2 * 2 * rollout - 2
