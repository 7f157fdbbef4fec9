# SPDX-License-Identifier: BSD-3-Clause
"""Acting after training: samplers, candidates, bounds and observation groups."""

from typing import Any

import pytest
import torch

from tests.algorithms.builders import NUM_OBS, actor_critic, gaussian_actor_critic, observations
from trudi_rsl.policies import ChainOptions


def test_actions_fill_the_bounds_and_never_leave_them() -> None:
    model = actor_critic(perturbed=False)
    for sampler in ("sde", "ode", "best_of_k"):
        actions = model.act(observations(500), sampler)  # type: ignore[arg-type]
        low, high = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 4.0])
        assert (actions >= low).all() and (actions <= high).all()
        # a fresh policy is wider than the bounds; the best candidates may all lie on one side
        assert sampler == "best_of_k" or (actions.amax(0) - actions.amin(0) > 0.9 * (high - low)).all()


def test_evaluate_is_q_of_the_unit_action() -> None:
    model, obs, unit = actor_critic(), observations(6), 2.0 * torch.rand(6, 2) - 1.0
    expected = model.critic.value(model.critic_obs(obs), unit)
    torch.testing.assert_close(model.evaluate(obs, model.to_simulator(unit)), expected)


@pytest.mark.parametrize("build", [actor_critic, gaussian_actor_critic])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_best_of_k_takes_each_states_candidate_of_largest_q(asymmetric: bool, build: Any) -> None:
    model, obs, batch, k = build(asymmetric), observations(6), 6, 5
    torch.manual_seed(4)
    chosen = model.act(obs, "best_of_k", num_candidates=k)
    torch.manual_seed(4)
    # K candidates of every state come from one call, candidate by candidate
    repeated = obs[torch.arange(batch).repeat(k)]
    candidates = model.act(repeated, "sde")
    values = model.evaluate(repeated, candidates).view(k, batch)
    assert (values.std(0) > 0.0).all()
    torch.testing.assert_close(chosen, candidates.view(k, batch, -1)[values.argmax(0), torch.arange(batch)])


def test_the_action_is_deterministic_and_starts_at_zeros_unless_a_stochastic_one_is_requested() -> None:
    model, obs = actor_critic(), observations(4)
    expected = model.to_simulator(model.actor.ode_path(model.actor_obs(obs), start=torch.zeros(4, 2))[-1].tanh())
    for actions in (model(obs), model.act_inference(obs), model.act(obs, "ode", initial_latent="zeros")):
        assert torch.equal(actions, expected)
    assert not torch.equal(model(obs, stochastic_output=True), model(obs, stochastic_output=True))


def test_a_gaussian_acts_by_its_mean_with_ode_and_around_it_with_sde() -> None:
    model, obs = gaussian_actor_critic(), observations(4)
    mean, log_std = model.actor(model.actor_obs(obs))
    expected = model.to_simulator(mean.tanh())
    zeros = model.act(obs, "ode", 1.0, 1, "zeros")
    for actions in (model(obs), model.act_inference(obs), model.act(obs, "ode"), zeros):
        torch.testing.assert_close(actions, expected, rtol=0, atol=0)
    torch.manual_seed(6)
    actions = model.act(obs, "sde")
    torch.manual_seed(6)
    torch.testing.assert_close(actions, model.to_simulator((mean + log_std.exp() * torch.randn(4, 2)).tanh()))


def test_a_gaussian_refuses_options_of_a_chain() -> None:
    model, obs = gaussian_actor_critic(), observations(2)
    for act in (
        lambda: model.act(obs, "ode", score_scale=0.5),
        lambda: model.deterministic_actions(model.actor_obs(obs), start=torch.zeros(2, 2)),
        lambda: model.deployable(ChainOptions(seed=1)),
    ):
        with pytest.raises(ValueError, match="no score scale, no steps and no initial latent"):
            act()


def test_the_ode_starts_from_the_prior() -> None:
    model, obs = actor_critic(), observations(4)
    torch.manual_seed(2)
    actions = model.act(obs, "ode", score_scale=0.5)
    torch.manual_seed(2)
    x0 = model.actor.prior_std * torch.randn(4, 2)
    end = model.actor.ode_path(model.actor_obs(obs), ChainOptions(0.5), x0)[-1]
    torch.testing.assert_close(actions, model.to_simulator(end.tanh()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "odee"}, "'odee'; use one of ode, sde, best_of_k"),
        ({"sampler": "ode", "score_scale": 0.0}, "score_scale .* 0, got 0.0"),
        ({"sampler": "best_of_k", "num_candidates": 0}, "num_candidates .* 1, got 0"),
        ({"sampler": "ode", "initial_latent": "zero"}, "initial_latent 'zero'"),
    ],
)
def test_impossible_samplers_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        actor_critic().act(observations(2), **arguments)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("sampler", ["ode", "sde", "best_of_k"])
def test_samplers_work_in_the_modules_own_dtype(sampler: Any) -> None:
    model, obs = actor_critic(), observations(3)
    torch.set_default_dtype(torch.float32)
    assert model.act(obs, sampler).dtype == torch.float64


def test_only_an_asymmetric_critic_sees_its_own_groups_and_the_actor_never_does() -> None:
    symmetric, model, obs, actions = actor_critic(), actor_critic(asymmetric=True), observations(4), torch.rand(4, 2)
    privileged = obs.clone()
    privileged["privileged"] += 1.0
    assert (model.evaluate(obs, actions) != model.evaluate(privileged, actions)).all()
    assert torch.equal(model(obs), model(privileged))
    assert not torch.equal(model(obs), model(observations(4)))
    assert torch.equal(symmetric.evaluate(obs, actions), symmetric.evaluate(privileged, actions))


@pytest.mark.parametrize("asymmetric", [False, True])
def test_normalisers_learn_each_observation_once_and_only_in_training_mode(asymmetric: bool) -> None:
    model = actor_critic(asymmetric).train()
    steps = [observations(50) for _ in range(4)]
    for obs in steps:
        model.update_normalization(obs)
    model.eval()
    model.update_normalization(observations(20))
    for encoder in {model.actor_obs, model.critic_obs}:
        seen = torch.cat([encoder.concatenate(obs) for obs in steps])
        torch.testing.assert_close(encoder.normalizer.mean, seen.mean(0))
        torch.testing.assert_close(encoder.normalizer.std, seen.std(0, correction=0))
        assert encoder(steps[0]).abs().max() < 10.0


def test_statistics_are_updated_in_place_because_captured_graphs_read_them_at_their_addresses() -> None:
    model = actor_critic(True).train()
    buffers = [*model.actor_obs.named_buffers(), *model.critic_obs.named_buffers()]
    addresses, before = [b.data_ptr() for _, b in buffers], [b.clone() for _, b in buffers]
    model.update_normalization(observations(50))
    after = [*model.actor_obs.named_buffers(), *model.critic_obs.named_buffers()]
    assert [b.data_ptr() for _, b in after] == addresses
    assert not any(torch.equal(new, old) for (_, new), old in zip(after, before, strict=True))


def test_the_normaliser_survives_non_finite_rows() -> None:
    model, obs = actor_critic().train(), observations(20)
    obs["policy"][3, 1] = float("inf")
    model.update_normalization(obs)
    assert torch.isfinite(model.actor_obs(obs)[:3]).all()
    assert all(torch.isfinite(value).all() for value in model.actor_obs.state_dict().values())


def test_old_actor_is_a_copy_that_training_does_not_move() -> None:
    model, obs, latents = actor_critic(), torch.randn(3, NUM_OBS), torch.randn(4, 3, 2)
    assert not any(p.requires_grad for p in model.old_actor.parameters())
    before = model.old_actor.means(obs, latents)
    with torch.no_grad():
        for p in model.actor.parameters():
            p.add_(0.1)
    torch.testing.assert_close(model.old_actor.means(obs, latents), before, rtol=0, atol=0)
    model.sync_old_actor()
    torch.testing.assert_close(model.old_actor.means(obs, latents), model.actor.means(obs, latents), rtol=0, atol=0)


def test_output_std_is_that_of_the_gaussian_with_the_same_entropy() -> None:
    model, std = actor_critic(), torch.tensor([0.3, 0.3])
    model.entropy_per_dim.copy_(torch.distributions.Normal(0.0, std).entropy().mean())
    torch.testing.assert_close(model.output_std, model.action_scale * std)
