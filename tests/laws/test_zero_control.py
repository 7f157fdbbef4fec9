# SPDX-License-Identifier: BSD-3-Clause
"""A fresh policy has zero control, so its chain is the prior's own diffusion."""

import pytest
import torch
from torch import Tensor

from trudi_rsl.algorithms.trust_region import OldChains, fresh_chains, path_kl, reverse_path_kl
from trudi_rsl.policies.diffusion import DiffusionPolicy


def variances(policy: DiffusionPolicy) -> Tensor:
    """Return the exact variances ``v_{k+1} = (1 - e_k / s0^2)^2 v_k + 2 e_k`` of ``x_0 .. x_N``, ``[N+1, A]``."""
    out = [torch.full((policy.num_actions,), policy.prior_std**2)]
    for e in policy.step_sizes().detach():
        out.append((1.0 - e / policy.prior_std**2).square() * out[-1] + 2.0 * e)
    return torch.stack(out)


@pytest.mark.usefixtures("float64")
def test_marginals_follow_the_discrete_variance_recursion() -> None:
    policy, samples = DiffusionPolicy(1, 1, init_friction=0.2, hidden_dims=[4]), 100_000
    with torch.no_grad():
        latents = policy.sample(torch.zeros(samples, 1), policy.draw_noise(samples)).latents
    expected = variances(policy)[:, 0]
    sampled = latents[..., 0].var(dim=1)
    # the variance of n Gaussian samples has the relative standard error sqrt(2/n)
    assert ((sampled / expected - 1.0).abs() < 5.0 * (2.0 / samples) ** 0.5).all()
    assert (latents[..., 0].mean(dim=1).abs() < 5.0 * (expected / samples).sqrt()).all()


@pytest.mark.usefixtures("float64")
def test_log_prob_bound_is_the_priors_density_up_to_discretisation() -> None:
    gaps = []
    for num_steps in (8, 64, 512):
        policy = DiffusionPolicy(1, 2, num_steps=num_steps, hidden_dims=[2])
        chain = policy.sample(torch.zeros(64, 1), policy.draw_noise(64))
        with torch.no_grad():
            squash = torch.log1p(-chain.latents[-1].tanh().square()).sum(-1)
            bound = policy.log_prob_bound(chain) + squash
        density = torch.distributions.Normal(0.0, policy.prior_std).log_prob(chain.latents[-1]).sum(-1)
        gaps.append((bound - density).square().mean().sqrt().item())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.02


@pytest.mark.parametrize("estimator", ["closed_form", "mean_only", "log_ratio"])
def test_path_kl_of_a_policy_with_itself_is_exactly_zero(estimator: str) -> None:
    policy, obs = DiffusionPolicy(3, 2, hidden_dims=[8, 8]), torch.randn(16, 3)
    chain = policy.sample(obs, policy.draw_noise(16))
    kl = path_kl(policy, obs, OldChains(chain.latents, chain.means, policy.step_sizes()), estimator)
    assert (kl == 0.0).all()
    assert (path_kl(policy, obs, fresh_chains(policy, obs, policy.draw_noise(2 * len(obs))), estimator) == 0.0).all()
    assert (reverse_path_kl(policy, policy, obs, torch.cat([chain.latents, chain.means])) == 0.0).all()


def test_path_kl_of_a_trained_policy_with_itself_is_zero_to_float_precision() -> None:
    policy, obs = DiffusionPolicy(3, 2, hidden_dims=[64, 64, 64]), torch.randn(256, 3)
    torch.nn.init.normal_(policy.score_network.output_layer.weight, std=0.5)
    chain = policy.sample(obs, policy.draw_noise(256))
    assert path_kl(policy, obs, OldChains(chain.latents, chain.means, policy.step_sizes())).max() < 1e-5
