# SPDX-License-Identifier: BSD-3-Clause
"""NaN and infinity in a rollout are found, named, and left out of what is learned."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.algorithms.builders import actor_critic, rollout
from trudi_rsl.algorithms.nonfinite import filter_nonfinite, find_nonfinite, mask_nonfinite
from trudi_rsl.algorithms.targets import compute_targets
from trudi_rsl.policies import DiffusionActorCritic
from trudi_rsl.storage import RolloutBuffer

ENV, ROW = 3, 1
GAMMA, LAM, ALPHA = 0.9, 0.7, torch.tensor(0.2)


def lose(buffer: RolloutBuffer, rows: slice | int, env: int = ENV) -> None:
    """Let an environment's observations be lost, as ``TruDi.act`` stores them."""
    buffer.seen[rows, env] = False
    buffer.actor_obs[rows, env] = 0.0


def targets(model: DiffusionActorCritic, buffer: RolloutBuffer) -> Tensor:
    """Return the targets, with the same random numbers every time."""
    torch.manual_seed(5)
    compute_targets(model, buffer, ALPHA, GAMMA, LAM)
    return buffer.targets.clone()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_reward_is_found_with_environment_and_step(bad: float) -> None:
    for row in range(4):
        buffer = rollout(actor_critic())
        assert find_nonfinite(buffer) is None
        buffer.step = row
        none = torch.zeros(buffer.num_envs, dtype=torch.bool)
        rewards = torch.tensor([0.0, 0.0, 0.0, bad, 0.0])
        (finite,), rewarded = filter_nonfinite(rewards)
        assert not rewards.isfinite().all(), "the caller's tensor is not changed"
        buffer.add_outcome(finite, none, none, rewarded)
        fault = find_nonfinite(buffer)
        assert fault is not None and (fault.quantity, fault.env, fault.step) == ("reward", ENV, row)
        assert fault.envs.tolist() == [ENV] and fault.lost.tolist() == []
        assert torch.isfinite(buffer.rewards).all()


def test_a_lost_observation_is_found_and_only_one_after_the_rollout_asks_for_a_reset() -> None:
    for row in range(5):
        buffer = rollout(actor_critic())
        lose(buffer, row)
        fault = find_nonfinite(buffer)
        assert fault is not None and (fault.quantity, fault.env, fault.step) == ("observation", ENV, row)
        assert fault.lost.tolist() == ([ENV] if row == 4 else [])


def test_an_action_for_a_finite_observation_is_the_policys_own() -> None:
    buffer = rollout(actor_critic())
    buffer.actions[2, 1, 0] = float("nan")
    fault = find_nonfinite(buffer)
    assert fault is not None and (fault.quantity, fault.env, fault.step) == ("action", 1, 2)
    lose(buffer, 2, env=1)
    fault = find_nonfinite(buffer)
    assert fault is not None and fault.quantity == "observation"


def test_the_first_of_several_is_named_and_all_environments_counted() -> None:
    buffer = rollout(actor_critic())
    buffer.rewarded[2, 1] = False
    lose(buffer, 3, env=0)
    fault = find_nonfinite(buffer)
    assert fault is not None
    assert "reward in environment 1 at step 2" in str(fault) and "2 environments" in str(fault)


@pytest.mark.parametrize("ended", [True, False])
def test_a_final_observation_counts_where_an_episode_ended(ended: bool) -> None:
    buffer = rollout(actor_critic())
    final = torch.zeros_like(buffer.actor_obs[0])
    final[ENV] = float("nan")
    buffer.step = ROW
    buffer.add_final_obs(final, final)
    buffer.truncated[ROW, ENV] = ended
    fault = find_nonfinite(buffer)
    if not ended:
        assert fault is None
        return
    assert fault is not None and (fault.quantity, fault.step) == ("final observation", ROW)
    assert mask_nonfinite(buffer)
    compute_targets(actor_critic(), buffer, ALPHA, GAMMA, LAM)
    assert not buffer.target_valid[ROW, ENV] and torch.isfinite(buffer.targets).all()


def test_what_follows_a_fault_changes_no_target_before_it_and_no_other_environments() -> None:
    model = actor_critic()
    buffer = rollout(model)
    lose(buffer, 2)
    assert mask_nonfinite(buffer)
    before = targets(model, buffer)
    assert buffer.target_valid[:, ENV].tolist() == [True, False, False, True]
    buffer.rewards[1:3, ENV] = 1e6
    buffer.actions[2, ENV] = 0.9
    after = targets(model, buffer)
    others = torch.arange(buffer.num_envs) != ENV
    torch.testing.assert_close(after[:, others], before[:, others], rtol=0, atol=0)
    torch.testing.assert_close(after[[0, 3], ENV], before[[0, 3], ENV], rtol=0, atol=0)


def test_a_row_in_front_of_a_lost_one_has_no_target_though_the_host_gave_last_observations_of_others() -> None:
    model = actor_critic()
    buffer = rollout(model)
    buffer.step = ROW
    buffer.add_final_obs(buffer.actor_obs[0], buffer.critic_obs[0])
    buffer.step = buffer.num_steps
    lose(buffer, ROW + 1)
    assert mask_nonfinite(buffer)
    targets(model, buffer)
    assert buffer.target_valid[:, ENV].tolist() == [True, False, False, True]
    assert buffer.target_valid.sum() == buffer.target_valid.numel() - 2


def test_lost_rows_are_in_no_minibatch_and_minibatches_keep_their_size() -> None:
    torch.manual_seed(0)
    buffer = rollout(actor_critic())
    compute_targets(actor_critic(), buffer, ALPHA, GAMMA, LAM)
    lost = [1, 2]
    lose(buffer, slice(1, 3))
    assert mask_nonfinite(buffer)
    batches = [rows.rows.tolist() for rows in buffer.index_batches(8, 4)]
    drawn = {row for rows in batches for row in rows}
    assert {len(rows) for rows in batches} == {buffer.num_steps * buffer.num_envs // 4}
    assert drawn == set(range(20)) - {t * buffer.num_envs + ENV for t in lost}
    buffer.clear()
    assert {row for rows in buffer.index_batches(1, 1) for row in rows.rows.tolist()} == set(range(20))


def test_a_rollout_that_is_mostly_lost_is_not_learned_from() -> None:
    buffer = rollout(actor_critic())
    for env in range(3):
        lose(buffer, slice(None), env=env)
    assert not mask_nonfinite(buffer)
    buffer = rollout(actor_critic())
    for env in range(2):
        lose(buffer, slice(None), env=env)
    assert mask_nonfinite(buffer)


def test_without_faults_minibatches_are_those_of_a_plain_permutation() -> None:
    buffer = rollout(actor_critic())
    torch.manual_seed(3)
    batches = list(buffer.index_batches(1, 4))
    torch.manual_seed(3)
    torch.testing.assert_close(torch.cat([rows.rows for rows in batches]), torch.randperm(20))
    expected = buffer.actions[:4].flatten(0, 1)[batches[0].rows]
    torch.testing.assert_close(buffer.minibatch(batches[0]).actions, expected, rtol=0, atol=0)
