# SPDX-License-Identifier: BSD-3-Clause
"""With linear control everything is Gaussian, and the method's two bounds can be held against the truth."""

import pytest
import torch
from torch.distributions import kl_divergence

from tests.laws.linear_gaussian import (
    assert_mean_is,
    expected_log_prob_bound,
    expected_path_kl,
    marginals,
    random_linear_policy,
)
from trudi_rsl.algorithms.trust_region import OldChains, fresh_chains, path_kl
from trudi_rsl.diffusion.chain import log_prob_bound

pytestmark = pytest.mark.usefixtures("float64", "seed")
SAMPLES = 20_000
OBS = (SAMPLES, 1)


@pytest.fixture(params=range(4))
def seed(request: pytest.FixtureRequest) -> None:
    """Repeat a test with four random policies."""
    torch.manual_seed(request.param)


def test_samples_have_the_exact_marginal() -> None:
    policy = random_linear_policy()
    x = policy.sample(torch.zeros(OBS), policy.draw_noise(SAMPLES)).latents[-1]
    true = marginals(policy)[-1]
    whitened = (x - true.mean) @ torch.linalg.inv(true.scale_tril).T
    assert (whitened.mean(0).abs() < 5.0 * SAMPLES**-0.5).all()
    assert ((whitened.T.cov() - torch.eye(2)).abs() < 5.0 * (2.0 / SAMPLES) ** 0.5).all()


def test_negative_mean_log_prob_bound_is_at_most_the_entropy() -> None:
    policy = random_linear_policy()
    chain = policy.sample(torch.zeros(OBS), policy.draw_noise(SAMPLES))
    bound = log_prob_bound(chain.latents, chain.noise, policy.step_sizes(), policy.prior_std)
    exact = expected_log_prob_bound(policy)
    assert_mean_is(bound, exact)
    assert -exact <= marginals(policy)[-1].entropy()


def test_path_kl_is_at_least_the_marginal_kl() -> None:
    old, new = random_linear_policy(), random_linear_policy()
    obs = torch.zeros(OBS)
    chain = old.sample(obs, old.draw_noise(SAMPLES))
    exact = expected_path_kl(old, new)
    assert_mean_is(path_kl(new, obs, OldChains(chain.latents, chain.means, old.step_sizes())), exact)
    assert_mean_is(path_kl(new, obs, fresh_chains(old, obs, old.draw_noise(len(obs)))), exact)
    assert exact >= kl_divergence(marginals(old)[-1], marginals(new)[-1])
