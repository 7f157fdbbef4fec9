# SPDX-License-Identifier: BSD-3-Clause
"""A fresh policy has zero control, so its chain is the prior's own diffusion."""

import pytest
import torch

from trudi_rsl.algorithms.trust_region import OldChains, fresh_chains, path_kl, reverse_path_kl
from trudi_rsl.policies.diffusion import DiffusionPolicy


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
