# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Laws of episodes, on a hand-made task whose every number is known: ends, resets, faults, statistics, resume."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import torch

from trudi_rsl.errors import CheckpointError, NonFiniteError
from trudi_rsl.hosts.playground import PlaygroundVecEnv, reports
from trudi_rsl.hosts.playground.simulation import new_key
from trudi_rsl.hosts.playground.task import load_task

CLOCK = "tests.hosts.playground.clock_task:Clock"
ENVS = 3


def clock(**options: Any) -> PlaygroundVecEnv:
    """Return three clocks whose config is given by ``options``."""
    seed = options.pop("seed", 0)
    return PlaygroundVecEnv(CLOCK, ENVS, seed=seed, config=options)


def idle(env: PlaygroundVecEnv, steps: int = 1) -> tuple[Any, ...]:
    """Step without faults, and return the results of the last step."""
    results: tuple[Any, ...] = ()
    for _ in range(steps):
        results = env.step(torch.zeros(ENVS, 2))
    return results


def actions_with_nan(*faulty: int) -> torch.Tensor:
    """Return actions that make the simulation of some environments NaN."""
    actions = torch.zeros(ENVS, 2)
    actions[list(faulty), 0] = 1.0
    return actions


# -- ends -------------------------------------------------------------------------------------------------------------


def test_a_time_limit_is_a_truncation_with_the_true_last_observation() -> None:
    env = clock(episode_length=4)
    start = env.get_observations()["policy"][:, 1].clone()
    obs, rewards, dones, extras = idle(env, 4)
    assert dones.tolist() == [1] * ENVS
    assert extras["time_outs"].tolist() == [True] * ENVS
    assert rewards.tolist() == [4.0] * ENVS
    assert extras["final_obs"]["policy"][:, 0].tolist() == [4.0] * ENVS
    assert torch.equal(extras["final_obs"]["policy"][:, 1], start)
    assert obs["policy"][:, 0].tolist() == [0.0] * ENVS
    assert not (obs["policy"][:, 1] == start).any(), "the next episode must be a new one"


def test_a_termination_in_the_step_of_the_time_limit_is_no_truncation() -> None:
    env = clock(episode_length=4, length=4)
    _, _, dones, extras = idle(env, 4)
    assert (dones.tolist(), extras["time_outs"].tolist()) == ([1] * ENVS, [False] * ENVS)
    assert extras["final_obs"]["policy"][:, 0].tolist() == [4.0] * ENVS


def test_only_ended_environments_are_reset_and_others_have_their_current_observation_as_the_final_one() -> None:
    env = clock(episode_length=10)
    env.episode_length_buf = torch.tensor([9, 0, 0])
    start = env.get_observations()["policy"].clone()
    obs, _, dones, extras = idle(env)
    assert dones.tolist() == [1, 0, 0]
    assert torch.equal(extras["final_obs"]["policy"][1:], obs["policy"][1:])
    assert torch.equal(obs["policy"][1:, 1], start[1:, 1])
    assert obs["policy"][0, 0] == 0.0 and obs["policy"][0, 1] != start[0, 1]
    assert env.episode_length_buf.tolist() == [0, 1, 1]


def test_the_observations_of_all_groups_end_alike() -> None:
    env = clock(episode_length=2)
    obs, *_, extras = idle(env, 2)
    assert set(obs.keys()) == set(extras["final_obs"].keys()) == {"policy", "privileged"}
    for values in (obs, extras["final_obs"]):
        assert torch.equal(values["privileged"][:, :2], values["policy"])


def test_repeated_actions_end_with_the_first_termination_and_count_no_reward_after_it() -> None:
    env = clock(episode_length=9, action_repeat=2, length=3)
    assert (env.max_episode_length, env.step_dt) == (5, pytest.approx(0.04))
    assert idle(env)[1].tolist() == [1.0 + 2.0] * ENVS
    _, rewards, dones, extras = idle(env)
    assert rewards.tolist() == [3.0] * ENVS
    assert (dones.tolist(), extras["time_outs"].tolist()) == ([1] * ENVS, [False] * ENVS)


# -- starts -----------------------------------------------------------------------------------------------------------


def starts(env: PlaygroundVecEnv, episodes: int) -> torch.Tensor:
    """Return the numbers drawn at the starts of all environments' episodes ``[episodes, E]``."""
    drawn = torch.full((episodes, ENVS), torch.nan)
    counts = [0] * ENVS
    dones = torch.ones(ENVS)
    while min(counts) < episodes:
        obs = env.get_observations()["policy"]
        for i in dones.nonzero().flatten().tolist():
            if counts[i] < episodes:
                drawn[counts[i], i] = obs[i, 1]
            counts[i] += 1
        dones = idle(env)[2]
    return drawn


def test_an_episode_starts_as_its_seed_environment_and_number_say_whenever_it_starts() -> None:
    in_step = starts(clock(episode_length=10), 3)
    spread = clock(episode_length=10)
    spread.episode_length_buf = torch.tensor([8, 3, 0])
    assert torch.equal(starts(spread, 3), in_step)
    assert len(in_step.unique()) == in_step.numel()
    assert not torch.isin(starts(clock(episode_length=10, seed=1), 3), in_step).any()


def test_a_seed_starts_the_first_episodes_again_and_a_reset_the_next_ones() -> None:
    env = clock()
    first = env.get_observations()["policy"].clone()
    idle(env, 3)
    second = env.reset()[0]["policy"]
    assert not (second[:, 1] == first[:, 1]).any() and not second[:, 0].any()
    third, _ = env.reset(env_ids=torch.tensor([1]))
    assert (third["policy"][:, 1] == second[:, 1]).tolist() == [True, False, True]
    env.seed(0)
    assert torch.equal(env.get_observations()["policy"], first)


# -- faults -----------------------------------------------------------------------------------------------------------


def test_nan_is_a_masked_truncation_and_a_new_episode_while_others_go_on() -> None:
    env = clock()
    env.restarts_faulty = True
    idle(env, 2)
    with pytest.warns(UserWarning, match=r"1 of 3 environments, first in environment 1, 3 steps into its episode"):
        obs, rewards, dones, extras = env.step(actions_with_nan(1))
    assert (rewards.tolist(), dones.tolist()) == ([3.0, 0.0, 3.0], [0, 1, 0])
    assert extras["time_outs"].tolist() == [False, True, False]
    assert extras["final_obs"]["policy"].isnan().all(1).tolist() == [False, True, False]
    assert obs["policy"].isfinite().all() and obs["policy"][:, 0].tolist() == [3.0, 0.0, 3.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        idle(env)
        env.step(actions_with_nan(2))


def test_without_restarts_nan_is_an_error() -> None:
    env = clock()
    with pytest.raises(NonFiniteError, match=r"the simulator returned NaN or infinity in 2 of 3 .* environment 0"):
        env.step(actions_with_nan(0, 2))


@pytest.mark.parametrize("again", [False, True])
def test_nan_everywhere_or_at_once_again_is_an_error(again: bool) -> None:
    env = clock()
    env.restarts_faulty = True
    faulty = (0,) if again else (0, 1, 2)
    if again:
        with pytest.warns(UserWarning):
            env.step(actions_with_nan(0))
    with pytest.raises(NonFiniteError):
        env.step(actions_with_nan(*faulty))


def test_a_nan_action_is_reported_as_the_policys() -> None:
    env = clock()
    actions = torch.zeros(ENVS, 2)
    actions[1, 1] = torch.nan
    with pytest.raises(NonFiniteError, match=r"the policy returned an action with NaN .* environment 1"):
        env.step(actions)


# -- statistics -------------------------------------------------------------------------------------------------------


def test_statistics_are_those_of_hand_summed_episodes() -> None:
    env = clock(episode_length=6)
    env.episode_length_buf = torch.tensor([5, 2, 2])
    logs = [idle(env)[3] for _ in range(4)]
    assert ["log" in extras for extras in logs] == [True, False, False, True]
    first, last = logs[0]["log"], logs[3]["log"]
    assert first == {
        "Episode/return": 1.0,
        "Episode/length": 1.0,
        "Episode/success": 0.0,
        "Episode_Reward/steps": 1.0,
    }
    # 1 + 2 + 3 + 4, a mean of 2.5 per step, and success in step 2
    assert (last["Episode/return"], last["Episode/length"]) == (10.0, 4.0)
    assert (last["Episode/success"], last["Episode_Reward/steps"]) == (1.0, 2.5)
    assert logs[0]["success"].nan_to_num(-1.0).tolist() == [0.0, -1.0, -1.0]
    assert logs[3]["success"].nan_to_num(-1.0).tolist() == [-1.0, 1.0, 1.0]


def test_statistics_and_faults_that_are_read_late_are_complete() -> None:
    env = clock(episode_length=6)
    env.restarts_faulty = True
    env._reports.on_cpu = False
    env.step(actions_with_nan(2))
    logs = []
    with pytest.warns(UserWarning, match="environment 2, 1 steps"):
        for _ in range(2 * reports.GPU_INTERVAL):
            extras = idle(env)[3]
            logs += [extras["log"]] if "log" in extras else []
    # of the first 16 steps: the faulty episode, and six that ended at the time limit
    assert [log["Episode/length"] for log in logs] == [pytest.approx((1 + 6 * 6) / 7)]


# -- tensors, compilation and resume ----------------------------------------------------------------------------------


def test_later_steps_do_not_change_returned_tensors() -> None:
    env = clock(episode_length=3)
    returned = [*env.get_observations().values(), env.episode_length_buf]
    for _ in range(4):
        obs, rewards, dones, extras = idle(env)
        returned += [*obs.values(), rewards, dones, *extras["final_obs"].values(), extras["time_outs"]]
    before = [tensor.clone() for tensor in returned]
    idle(env, 4)
    assert all(torch.equal(a, b) for a, b in zip(returned, before, strict=True))


def test_actions_are_clipped_to_their_bounds() -> None:
    env = clock()
    assert (env.action_low.tolist(), env.action_high.tolist()) == ([-1.0, -1.0], [1.0, 1.0])
    obs, *_ = env.step(torch.full((ENVS, 2), -5.0))
    assert obs["privileged"][:, 2:].tolist() == [[-1.0, -1.0]] * ENVS
    with pytest.raises(ValueError, match=r"\(3, 2\), not \(3, 1\)"):
        env.step(torch.zeros(ENVS, 1))


def test_nothing_is_compiled_twice() -> None:
    env = PlaygroundVecEnv(CLOCK, 5, config={"length": 7})
    simulation = env.loaded.simulation
    env.episode_length_buf = torch.arange(5)
    for _ in range(3):
        env.step(torch.zeros(5, 2))
        env.load_state_dict(env.state_dict())
        env.reset()
        env.seed(3)
    env.alike(5, 1).step(torch.zeros(5, 2))
    assert simulation._advanced._cache_size() == simulation.refill._cache_size() == 1


def test_a_restored_state_continues_bitwise() -> None:
    env, other = clock(episode_length=6), clock(episode_length=6, seed=5)
    env.episode_length_buf = torch.tensor([5, 3, 1])
    idle(env, 2)
    other.load_state_dict(env.state_dict())
    for _ in range(8):
        for mine, theirs in zip(idle(env)[:3], idle(other)[:3], strict=True):
            assert (mine == theirs).all()
    assert torch.equal(env.episode_length_buf, other.episode_length_buf)


def test_a_state_with_all_leaves_as_in_earlier_checkpoints_continues() -> None:
    env, other = clock(), clock(seed=5)
    idle(env, 2)
    kept = env._simulation.kept
    assert not all(kept)
    own, state = jax.tree.leaves(env._carry._replace(state=kept, prepared=kept)), env.state_dict()
    rest = iter(state["leaves"])
    state["leaves"] = [torch.zeros(ENVS) if keep is False else next(rest) for keep in own]
    other.load_state_dict(state)
    for mine, theirs in zip(idle(env)[:3], idle(other)[:3], strict=True):
        assert (mine == theirs).all()


def test_what_no_step_reads_is_not_kept_and_does_not_matter() -> None:
    task = load_task("CartpoleBalance", jax.devices("cpu")[0])
    simulation = task.simulation
    state = jax.jit(jax.vmap(task.env.reset))(jax.random.split(new_key(0), ENVS))
    step, actions = jax.jit(jax.vmap(task.env.step)), jnp.ones((ENVS, 1))
    whole, kept = state, state
    for _ in range(5):
        whole, kept = step(whole, actions), step(simulation.unpack(simulation.pack(kept)), actions)
        for name in ("obs", "reward", "done", "metrics"):
            same = jax.tree.map(lambda a, b: bool((a == b).all()), getattr(whole, name), getattr(kept, name))
            assert all(jax.tree.leaves(same))
    assert len(simulation.pack(state)) < len(jax.tree.leaves(state)) / 3


def test_a_state_of_other_environments_is_refused_or_starts_anew() -> None:
    env = clock()
    state = env.state_dict()
    with pytest.raises(CheckpointError, match="of task 'Other'"):
        env.load_state_dict({**state, "task": "Other"})
    with pytest.raises(CheckpointError, match="does not fit"):
        env.load_state_dict({**state, "leaves": state["leaves"][1:]})
    idle(env)
    with pytest.warns(UserWarning, match="starts new episodes"):
        env.load_state_dict({**state, "num_envs": 4})
    assert env.episode_length_buf.tolist() == [0] * ENVS


def test_invalid_lengths_are_refused() -> None:
    env = clock()
    for wrong in (torch.zeros(2, dtype=torch.long), torch.tensor([0, -1, 0])):
        with pytest.raises(ValueError, match="3 numbers of at least 0"):
            env.episode_length_buf = wrong
