# SPDX-License-Identifier: BSD-3-Clause
"""The estimators of the path KL and the sources of its chains agree where the maths says so."""

import copy

import pytest
import torch
from torch import Tensor

from tests.laws.linear_gaussian import assert_mean_is
from trudi_rsl.algorithms.trust_region import OldChains, fresh_chains, path_kl, reverse_path_kl
from trudi_rsl.diffusion import Chain
from trudi_rsl.diffusion.chain import gaussian_kl
from trudi_rsl.policies.diffusion import DiffusionPolicy

pytestmark = pytest.mark.usefixtures("float64")
SAMPLES = 10_000


def old_and_new(same_friction: bool = False) -> tuple[DiffusionPolicy, DiffusionPolicy]:
    old = DiffusionPolicy(3, 2, hidden_dims=[8, 8]).requires_grad_(False)
    torch.nn.init.normal_(old.score_network.output_layer.weight)
    new = copy.deepcopy(old)
    new.score_network.output_layer.weight.add_(0.3 * torch.randn(2, 8))
    if not same_friction:
        new.raw_friction.add_(torch.tensor([0.1, -0.1]))
    return old, new


def rollout(old: DiffusionPolicy, samples: int = SAMPLES) -> tuple[Tensor, Chain]:
    """Return one state, repeated, and its chains."""
    obs = torch.tensor([[0.5, -1.0, 2.0]]).expand(samples, -1)
    return obs, old.sample(obs, old.draw_noise(samples))


def test_mean_only_equals_closed_form_when_frictions_agree() -> None:
    old, new = old_and_new(same_friction=True)
    obs, chain = rollout(old, 100)
    args = (new, obs, OldChains(chain.latents, chain.means, old.step_sizes()))
    torch.testing.assert_close(path_kl(*args, "mean_only"), path_kl(*args, "closed_form"))


def test_mean_only_misses_the_kl_between_frictions() -> None:
    old, new = old_and_new(same_friction=True)
    new.raw_friction.add_(0.2)
    new.score_network.output_layer.weight.copy_(old.score_network.output_layer.weight)
    obs, chain = rollout(old, 100)
    args = (new, obs, OldChains(chain.latents, chain.means, old.step_sizes()))
    assert (path_kl(*args, "mean_only") < path_kl(*args, "closed_form")).all()


def test_closed_form_is_the_sum_of_torchs_gaussian_kls() -> None:
    old, new = old_and_new()
    obs, chain = rollout(old, 20)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(chain.means, (2.0 * old.step_sizes()[:, None]).sqrt()),
        normal(new.means(obs, chain.latents[:-1]), (2.0 * new.step_sizes()[:, None]).sqrt()),
    ).sum((0, 2))
    torch.testing.assert_close(path_kl(new, obs, OldChains(chain.latents, chain.means, old.step_sizes())), expected)


def test_log_ratio_is_the_difference_of_torchs_log_densities() -> None:
    old, new = old_and_new()
    obs, chain = rollout(old, 20)

    def log_density(policy: DiffusionPolicy) -> Tensor:
        means = policy.means(obs, chain.latents[:-1])
        normal = torch.distributions.Normal(means, (2.0 * policy.step_sizes()[:, None]).sqrt())
        return normal.log_prob(chain.latents[1:]).sum((0, 2))

    sampled = path_kl(new, obs, OldChains(chain.latents, chain.means, old.step_sizes()), "log_ratio")
    torch.testing.assert_close(sampled, log_density(old) - log_density(new))


def test_log_ratio_agrees_with_closed_form_in_expectation() -> None:
    old, new = old_and_new()
    obs, chain = rollout(old)
    args = (new, obs, OldChains(chain.latents, chain.means, old.step_sizes()))
    # paired: both see the same chains
    assert_mean_is(path_kl(*args, "log_ratio") - path_kl(*args, "closed_form"), torch.zeros(()))


@pytest.mark.parametrize("estimator", ["closed_form", "mean_only", "log_ratio"])
def test_stored_and_fresh_chains_agree_in_expectation(estimator: str) -> None:
    old, new = old_and_new()
    obs, chain = rollout(old)
    stored = path_kl(new, obs, OldChains(chain.latents, chain.means, old.step_sizes()), estimator)
    fresh = path_kl(new, obs, fresh_chains(old, obs, old.draw_noise(len(obs))), estimator)
    assert not torch.equal(stored, fresh)
    # the two are independent, so their differences are independent samples
    assert_mean_is(stored - fresh, torch.zeros(()))


def test_more_fresh_chains_average_each_state_over_its_own_chains() -> None:
    old, new = old_and_new()
    obs = torch.randn(5, 3)
    torch.manual_seed(3)
    averaged = path_kl(new, obs, fresh_chains(old, obs, old.draw_noise(4 * len(obs))))
    torch.manual_seed(3)
    # K chains of B states are drawn in one call, chain by chain
    chain = old.sample(obs.repeat(4, 1), old.draw_noise(20))
    each = path_kl(new, obs.repeat(4, 1), OldChains(chain.latents, chain.means, old.step_sizes()))
    for state in range(5):
        torch.testing.assert_close(averaged[state], each[state::5].mean())


def test_fresh_chains_carry_no_gradient_to_the_old_policy() -> None:
    old, new = old_and_new()
    old.requires_grad_(True)
    new.requires_grad_(True)
    obs = torch.randn(4, 3)
    path_kl(new, obs, fresh_chains(old, obs, old.draw_noise(2 * len(obs)))).sum().backward()
    assert all(p.grad is None for p in old.parameters())
    assert new.raw_friction.grad is not None


def test_reverse_is_positive_and_zero_only_for_equal_policies() -> None:
    old, new = old_and_new()
    obs, chain = rollout(new, 200)
    trace = torch.cat([chain.latents, chain.means])
    assert (reverse_path_kl(new, old, obs, trace) > 0.0).all()
    torch.testing.assert_close(reverse_path_kl(new, new, obs, trace), torch.zeros(200), rtol=0, atol=1e-12)


def test_reverse_is_the_closed_form_with_the_roles_exchanged() -> None:
    old, new = old_and_new()
    obs, chain = rollout(new, 50)
    torch.testing.assert_close(
        reverse_path_kl(new, old, obs, torch.cat([chain.latents, chain.means])),
        gaussian_kl(chain.means, new.step_sizes(), old.means(obs, chain.latents[:-1]), old.step_sizes()),
    )


def test_unknown_estimator_is_refused_by_name() -> None:
    old, new = old_and_new()
    obs, chain = rollout(old, 2)
    with pytest.raises(ValueError, match="'median'"):
        path_kl(new, obs, OldChains(chain.latents, chain.means, old.step_sizes()), "median")
