# SPDX-License-Identifier: BSD-3-Clause
"""Soft TD(lambda) targets of stored rollouts with a real actor-critic."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.algorithms.builders import actor_critic, gaussian_actor_critic, rollout
from trudi_rsl.algorithms import targets
from trudi_rsl.algorithms.targets import compute_targets, final_rows
from trudi_rsl.policies import ActorCritic, DiffusionActorCritic
from trudi_rsl.storage import RolloutBuffer

GAMMA, LAM, ALPHA = 0.9, 0.7, torch.tensor(0.2)
RESET_ROW, ENV = 1, 2


def compute(model: ActorCritic[Any], buffer: RolloutBuffer, gamma: float = GAMMA, lam: float = LAM) -> Tensor:
    torch.manual_seed(11)
    compute_targets(model, buffer, ALPHA, gamma, lam)
    return buffer.targets.clone()


def ended(model: ActorCritic[Any], kind: str, final: bool) -> RolloutBuffer:
    """Return a rollout in which one environment's episode ended in one row, with or without final observations."""
    buffer = rollout(model)
    getattr(buffer, kind)[RESET_ROW, ENV] = True
    if final:
        buffer.final_actor_obs = buffer.final_critic_obs = torch.randn_like(buffer.actor_obs[1:])
        if model.asymmetric:
            buffer.final_critic_obs = torch.randn_like(buffer.critic_obs[1:])
        buffer.has_final.fill_(True)
    return buffer


def next_value(model: DiffusionActorCritic, buffer: RolloutBuffer, t: int) -> Tensor:
    """Return ``Q(s_{t+1}, a_{t+1})`` of the rollout's own decisions."""
    return model.critic.value(buffer.critic_obs[t + 1], buffer.actions[t + 1])


@pytest.mark.parametrize("asymmetric", [False, True])
def test_without_ends_targets_use_the_rollouts_own_next_actions(asymmetric: bool) -> None:
    model = actor_critic(asymmetric)
    buffer = rollout(model)
    expected = torch.empty_like(buffer.rewards)
    for t in reversed(range(buffer.num_steps)):
        v = next_value(model, buffer, t)
        ahead = v if t == buffer.num_steps - 1 else LAM * expected[t + 1] + (1.0 - LAM) * v
        # r~ = r - gamma alpha lp(s')
        expected[t] = buffer.rewards[t] - GAMMA * ALPHA * buffer.log_probs[t + 1] + GAMMA * ahead
    torch.testing.assert_close(compute(model, buffer), expected.detach())
    assert buffer.target_valid.all() and buffer.features_valid.all()
    features = model.critic(buffer.critic_obs[1:], buffer.actions[1:]).features
    torch.testing.assert_close(buffer.next_features, features.detach().bfloat16())


@pytest.mark.parametrize("asymmetric", [False, True])
def test_truncation_bootstraps_from_q_and_entropy_at_the_final_observation(asymmetric: bool) -> None:
    model = actor_critic(asymmetric).train()
    model.actor_obs.update(2.0 * torch.randn(100, 3) + 1.0)
    buffer = ended(model, "truncated", final=True)
    targets = compute(model, buffer)
    assert buffer.final_actor_obs is not None and buffer.final_critic_obs is not None
    torch.manual_seed(11)
    # final observations are stored raw
    actor_obs = model.actor_obs.normalize(buffer.final_actor_obs[RESET_ROW, ENV][None])
    chain = model.actor.sample(actor_obs, model.actor.draw_noise(1))
    critic_obs = model.critic_obs.normalize(buffer.final_critic_obs[RESET_ROW, ENV][None])
    q, features = model.critic.value_and_features(critic_obs, chain.latents[-1].tanh())
    expected = buffer.rewards[RESET_ROW, ENV] + GAMMA * (q - ALPHA * model.actor.log_prob_bound(chain))[0]
    torch.testing.assert_close(targets[RESET_ROW, ENV], expected.detach())
    torch.testing.assert_close(buffer.next_features[RESET_ROW, ENV], features[0].detach().bfloat16())
    assert buffer.target_valid.all() and buffer.features_valid.all()
    assert not buffer.targets.requires_grad and not buffer.next_features.requires_grad


@pytest.mark.parametrize("final", [False, True])
def test_terminated_rows_get_the_reward_only(final: bool) -> None:
    model = actor_critic()
    buffer = ended(model, "terminated", final)
    targets = compute(model, buffer)
    assert targets[RESET_ROW, ENV] == buffer.rewards[RESET_ROW, ENV]
    assert buffer.target_valid.all()
    # the next features are those of the reset state unless the host provides the final observation
    assert buffer.features_valid[RESET_ROW, ENV].item() == final
    assert buffer.features_valid.sum() == buffer.features_valid.numel() - (not final)


def test_truncation_without_final_observation_is_dropped_and_the_row_before_bootstraps_from_its_own_value() -> None:
    model = actor_critic()
    buffer = ended(model, "truncated", final=False)
    targets = compute(model, buffer)
    assert buffer.target_valid.logical_not().nonzero().tolist() == [[RESET_ROW, ENV]]
    assert buffer.features_valid.logical_not().nonzero().tolist() == [[RESET_ROW, ENV]]
    before = RESET_ROW - 1
    value = next_value(model, buffer, before) - ALPHA * buffer.log_probs[RESET_ROW]
    torch.testing.assert_close(targets[before, ENV], (buffer.rewards[before] + GAMMA * value)[ENV].detach())


def test_last_step_of_the_rollout_can_be_a_truncation_with_final_observation() -> None:
    model = actor_critic()
    buffer = ended(model, "truncated", final=True)
    buffer.truncated.fill_(False)
    buffer.truncated[-1] = True
    before = compute(model, buffer)
    buffer.actor_obs[-1].normal_()
    buffer.actions[-1].uniform_(-1.0, 1.0)
    buffer.log_probs[-1].normal_()
    torch.testing.assert_close(compute(model, buffer), before, rtol=0, atol=0)


@given(seed=st.integers(0, 1000), kind=st.sampled_from(["terminated", "truncated"]), final=st.booleans())
def test_the_next_episode_never_influences_rows_before_the_reset(seed: int, kind: str, final: bool) -> None:
    torch.manual_seed(seed)
    model = actor_critic(asymmetric=True)
    buffer = ended(model, kind, final)
    before = compute(model, buffer)
    valid = buffer.target_valid.clone()
    torch.manual_seed(seed + 1)
    buffer.actor_obs[RESET_ROW + 1 :, ENV].normal_()
    buffer.critic_obs[RESET_ROW + 1 :, ENV].normal_()
    buffer.actions[RESET_ROW + 1 :, ENV].uniform_(-1.0, 1.0)
    buffer.log_probs[RESET_ROW + 1 :, ENV].normal_()
    buffer.rewards[RESET_ROW + 1 :, ENV].normal_()
    after = compute(model, buffer)
    rows = slice(0, RESET_ROW + 1)
    torch.testing.assert_close(after[rows][valid[rows]], before[rows][valid[rows]], rtol=0, atol=0)
    assert not torch.equal(after[RESET_ROW + 1 :, ENV], before[RESET_ROW + 1 :, ENV])
    others = torch.arange(buffer.num_envs) != ENV
    torch.testing.assert_close(after[:, others], before[:, others], rtol=0, atol=0)


def test_on_a_gpu_a_fixed_number_of_final_observations_is_evaluated_truncations_first() -> None:
    needed = torch.rand(16, 3, generator=torch.Generator().manual_seed(0)) < 0.3
    truncated = needed & (torch.arange(3) == 1)
    wanted = set(needed.flatten().nonzero().flatten().tolist())
    (exactly,) = final_rows(needed, truncated)
    assert exactly.tolist() == sorted(wanted)
    # as many parts of 3 rows, whatever is needed
    assert [len(part) for part in final_rows(needed, truncated, 2)] == [3] * 8
    assert wanted <= set(torch.cat(list(final_rows(needed, truncated, 2))).tolist())
    few = torch.cat(list(final_rows(needed, truncated, 8)))
    assert len(few) == 6 < len(wanted)
    assert set(truncated.flatten().nonzero().flatten().tolist()) <= set(few.tolist())


def test_the_fixed_number_gives_the_same_targets_and_rows_beyond_it_count_as_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = gaussian_actor_critic()
    buffer = ended(model, "truncated", final=True)
    # a policy without noise, since other numbers of rows draw other numbers
    monkeypatch.setattr(model.actor, "draw_noise", lambda n: torch.zeros(model.actor.num_draws, n, model.num_actions))
    exact, features = compute(model, buffer), buffer.next_features.clone()
    monkeypatch.setattr(targets, "final_rows", lambda needed, truncated: final_rows(needed, truncated, 8))
    torch.testing.assert_close(compute(model, buffer), exact)
    torch.testing.assert_close(buffer.next_features, features)
    assert buffer.target_valid.all()
    other = torch.tensor([0])
    monkeypatch.setattr(targets, "final_rows", lambda needed, truncated: [other])
    compute(model, buffer)
    assert (
        (~buffer.target_valid).nonzero().tolist() == (~buffer.features_valid).nonzero().tolist() == [[RESET_ROW, ENV]]
    )
