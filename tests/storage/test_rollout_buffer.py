# SPDX-License-Identifier: BSD-3-Clause
"""The rollout buffer: rows stay together, nothing is lost or allocated where autograd can't reach it."""

from typing import Any

import pytest
import torch

from tests.algorithms.builders import actor_critic, decide, learner_and_batch, observations, rollout
from tests.properties.small_env import SmallEnv, make
from trudi_rsl.algorithms.trust_region import from_trace, path_kl
from trudi_rsl.errors import ConfigError
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.storage import RolloutBuffer


def test_each_epoch_visits_every_row_once_in_another_order() -> None:
    buffer = rollout(actor_critic(), num_steps=4, num_envs=6)
    buffer.targets.copy_(torch.arange(24.0).view(4, 6))
    seen = [batch.targets for batch in buffer.minibatches(num_epochs=2, num_minibatches=3)]
    assert [len(rows) for rows in seen] == [8] * 6
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(24))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_minibatch_rows_belong_to_one_transition(asymmetric: bool) -> None:
    model = actor_critic(asymmetric)
    model.actor.store_in_half()
    buffer = rollout(model, num_steps=4, num_envs=6)
    assert buffer.trace is not None
    buffer.targets.copy_(torch.arange(24.0).view(4, 6))
    buffer.next_features.normal_()
    for batch in buffer.minibatches(1, 3):
        t, e = batch.targets.long() // 6, batch.targets.long() % 6
        assert batch.trace is not None
        for actual, stored in (
            (batch.actor_obs, buffer.actor_obs[t, e]),
            (batch.critic_obs, buffer.critic_obs[t, e]),
            (batch.actions, buffer.actions[t, e]),
            (batch.next_features, buffer.next_features[t, e]),
            (batch.trace.transpose(0, 1), buffer.trace[t, e]),
        ):
            torch.testing.assert_close(actual, stored, rtol=0, atol=0)
        latents, _ = model.actor.rebuild(batch.trace, model.actor.step_sizes())
        torch.testing.assert_close(latents[-1].tanh(), batch.actions, rtol=0, atol=2e-3)


def test_a_rollout_collected_in_inference_mode_can_be_learned_from() -> None:
    model = actor_critic(asymmetric=True)
    learner, *_ = learner_and_batch(model)
    buffer = rollout(model)
    buffer.clear()
    with torch.inference_mode():
        for _ in range(buffer.num_steps):
            obs = observations(buffer.num_envs)
            decide(model, buffer, obs)
            buffer.add_final_obs(model.actor_obs.concatenate(obs), model.critic_obs.concatenate(obs))
            none = torch.zeros(buffer.num_envs, dtype=torch.bool)
            buffer.add_outcome(torch.randn(buffer.num_envs), none, none)
    assert buffer.final_actor_obs is not None and not buffer.final_actor_obs.is_inference()
    metrics = learner.update(next(buffer.minibatches(1, 1)), model.old_actor.step_sizes())
    assert metrics["actor_grad_norm"] > 0.0


def test_final_observations_lie_in_the_row_that_they_ended() -> None:
    model = actor_critic(asymmetric=True)
    buffer = rollout(model, num_steps=3, num_envs=2)
    buffer.clear()
    none = torch.zeros(2, dtype=torch.bool)
    final = torch.randn(2, 3), torch.randn(2, 5)
    for t in range(3):
        decide(model, buffer, observations(2))
        if t == 1:
            buffer.add_final_obs(*final)
        buffer.add_outcome(torch.zeros(2), none, ~none if t == 1 else none)
    assert buffer.final_actor_obs is not None and buffer.final_critic_obs is not None
    torch.testing.assert_close(buffer.final_actor_obs[1], final[0])
    torch.testing.assert_close(buffer.final_critic_obs[1], final[1])
    assert buffer.has_final.all(-1).tolist() == [False, True, False]
    buffer.clear()
    assert not buffer.has_final.any() and buffer.step == 0


def test_a_rollout_longer_than_the_buffer_and_more_minibatches_than_rows_are_refused() -> None:
    model = actor_critic()
    buffer = rollout(model, num_steps=2, num_envs=3)
    with pytest.raises(ValueError, match="6 transitions can't make 7 minibatches; lower num_mini_batches"):
        next(buffer.minibatches(1, 7))
    buffer.step = 3
    with pytest.raises(OverflowError, match="holds 2 steps; call clear"):
        decide(model, buffer, observations(3))


@pytest.mark.parametrize("std", [0.1, 0.5, 1.0, 2.0])
def test_a_chain_rebuilt_from_half_precision_costs_a_ten_millionth_of_its_energy(std: float) -> None:
    """The path KL of the policy to itself is that of rounding controls, ``sum_k e_k (2^-11 u_k)^2 / 4`` or less."""
    policy = DiffusionPolicy(16, 37, hidden_dims=[64, 64])
    policy.store_in_half()
    torch.nn.init.normal_(policy.output_layer.weight, std=std)
    obs, steps = torch.randn(256, 16), policy.step_sizes()
    with torch.no_grad():
        acted = policy.sample(obs, policy.draw_stored_noise(256).float())
        trace = policy.trace_of(acted).to(policy.trace_dtype)
        latents, _ = policy.rebuild(trace, steps)
        torch.testing.assert_close(latents[0], acted.latents[0], rtol=0, atol=0)
        energy = (steps[:, None] * policy.controls(obs, acted.latents[:-1]).square() / 4.0).sum((0, 2))
        kl = path_kl(policy, obs, from_trace(policy, trace, steps))
    assert kl.max() > 0.0 and (kl <= 2e-7 * energy + 1e-8).all()


def test_a_control_beyond_half_precision_is_stored_as_the_largest_number() -> None:
    policy = DiffusionPolicy(3, 2, hidden_dims=[8])
    policy.store_in_half()
    torch.nn.init.constant_(policy.output_layer.bias, 1e6)
    with torch.no_grad():
        trace = policy.decide(torch.zeros(4, 3), policy.draw_stored_noise(4)).trace.half()
        latents, means = policy.rebuild(trace, policy.step_sizes())
    assert trace.isfinite().all() and latents.isfinite().all() and means.isfinite().all()


def test_training_acts_on_the_noise_that_it_stores() -> None:
    env = SmallEnv(3, 2, {"policy": 3})
    trudi = make(env, 3, {"compile": "off"}, ["policy"], ["policy"])
    with torch.inference_mode():
        trudi.act(env.get_observations())
        assert trudi.storage.trace is not None
        actor, trace = trudi.actor_critic.actor, trudi.storage.trace[0].transpose(0, 1)
        latents, _ = actor.rebuild(trace, actor.step_sizes())
    # the controls of a new policy are near zero; noise rounded afterwards would be off by 1e-3
    torch.testing.assert_close(latents[-1].tanh(), trudi.storage.actions[0], rtol=0, atol=1e-5)


def test_a_rollout_of_a_humanoid_fits_into_one_gibibyte() -> None:
    """4096 environments x 64 steps, 310 observations, 37 actions, width 512; nothing is allocated."""
    policy = DiffusionPolicy(310, 37)
    policy.store_in_half()
    buffer = RolloutBuffer(64, 4096, 310, None, 37, 512, policy.trace_length, "meta", policy.trace_dtype)
    tensors = {id(x): x for x in vars(buffer).values() if isinstance(x, torch.Tensor)}
    assert sum(x.numel() * x.element_size() for x in tensors.values()) < 2**30


@pytest.mark.parametrize(
    ("settings", "in_half"),
    [
        ({}, True),
        ({"kl_bound": 0.01}, True),
        ({"kl_bound": 0.009}, False),
        ({"kl_chains": "fresh"}, False),
        ({"kl_estimator": "reverse"}, False),
        # the uncontrolled chain would magnify what is rounded
        ({"prior_std": 0.1}, False),
        ({"init_friction": 0.01}, False),
        ({"actor": "gaussian"}, False),
        ({"constraint": "none"}, False),
    ],
)
def test_chains_are_stored_in_half_precision_where_that_is_far_below_the_bound(
    settings: dict[str, Any], in_half: bool
) -> None:
    trudi = make(SmallEnv(3, 2, {"policy": 3}), 3, {"compile": "off", **settings}, ["policy"], ["policy"])
    assert (trudi.actor_critic.actor.trace_dtype == torch.float16) == in_half
    assert trudi.storage.trace is None or (trudi.storage.trace.dtype == torch.float16) == in_half


def test_too_little_memory_is_an_error_that_says_what_needs_how_much() -> None:
    message = r"cpu has too little memory .* observations \d+\.\d GiB, .* chains \d+\.\d GiB\. Lower num_envs"
    with pytest.raises(ConfigError, match=message):
        RolloutBuffer(10**9, 10**4, 300, None, 37, 512, 17, "cpu")
