# SPDX-License-Identifier: BSD-3-Clause
"""The estimators of the path KL and the sources of its chains agree where the maths says so."""

import copy

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.distributions import kl_divergence as torchs_kl

from trudi_rsl.algorithms.trust_region import OldChains, fresh_chains, path_kl, reverse_path_kl
from trudi_rsl.diffusion import Chain
from trudi_rsl.diffusion.chain import gaussian_kl
from trudi_rsl.policies import DiffusionPolicy

pytestmark = pytest.mark.usefixtures("float64")


def old_and_new(same_friction: bool = False) -> tuple[DiffusionPolicy, DiffusionPolicy]:
    old = DiffusionPolicy(3, 2, hidden_dims=[8, 8]).requires_grad_(False)
    torch.nn.init.normal_(old.score_network.output_layer.weight)
    new = copy.deepcopy(old)
    new.score_network.output_layer.weight.add_(0.3 * torch.randn(2, 8))
    if not same_friction:
        new.raw_friction.add_(torch.tensor([0.1, -0.1]))
    return old, new


def rollout(old: DiffusionPolicy, samples: int) -> tuple[Tensor, Chain, OldChains]:
    """Return one state, repeated, and its chains, also as the trust region stores them."""
    obs = torch.tensor([[0.5, -1.0, 2.0]]).expand(samples, -1)
    chain = old.sample(obs, old.draw_noise(samples))
    return obs, chain, OldChains(chain.latents, chain.means, old.step_sizes())


def kernels(policy: DiffusionPolicy, obs: Tensor, chain: Chain) -> Normal:
    """Return torch's own distributions of the denoising steps at the latents of a chain."""
    return Normal(policy.means(obs, chain.latents[:-1]), (2.0 * policy.step_sizes()[:, None]).sqrt())


def test_mean_only_is_the_closed_form_without_the_kl_between_frictions() -> None:
    old, new = old_and_new(same_friction=True)
    obs, _, stored = rollout(old, 100)
    torch.testing.assert_close(path_kl(new, obs, stored, "mean_only"), path_kl(new, obs, stored, "closed_form"))
    new.raw_friction.add_(0.2)
    new.score_network.output_layer.weight.copy_(old.score_network.output_layer.weight)
    assert (path_kl(new, obs, stored, "mean_only") < path_kl(new, obs, stored, "closed_form")).all()


def test_the_estimators_are_those_of_torchs_gaussians() -> None:
    old, new = old_and_new()
    obs, chain, stored = rollout(old, 20)
    p, q = kernels(old, obs, chain), kernels(new, obs, chain)
    torch.testing.assert_close(path_kl(new, obs, stored), torchs_kl(p, q).sum((0, 2)))
    log_ratio = (p.log_prob(chain.latents[1:]) - q.log_prob(chain.latents[1:])).sum((0, 2))
    torch.testing.assert_close(path_kl(new, obs, stored, "log_ratio"), log_ratio)


def test_more_fresh_chains_average_each_state_over_its_own_chains() -> None:
    old, new = old_and_new()
    obs = torch.randn(5, 3)
    noise = old.draw_noise(20)
    averaged = path_kl(new, obs, fresh_chains(old, obs, noise))
    # K chains of B states are sampled in one call, chain by chain
    chain = old.sample(obs.repeat(4, 1), noise)
    each = path_kl(new, obs.repeat(4, 1), OldChains(chain.latents, chain.means, old.step_sizes()))
    torch.testing.assert_close(averaged, each.view(4, 5).mean(0))


def test_fresh_chains_carry_no_gradient_to_the_old_policy() -> None:
    old, new = (policy.requires_grad_(True) for policy in old_and_new())
    obs = torch.randn(4, 3)
    path_kl(new, obs, fresh_chains(old, obs, old.draw_noise(2 * len(obs)))).sum().backward()
    assert all(p.grad is None for p in old.parameters())
    assert new.raw_friction.grad is not None


def test_reverse_is_the_closed_form_with_the_roles_exchanged_and_zero_only_for_equal_policies() -> None:
    old, new = old_and_new()
    obs, chain, _ = rollout(new, 200)
    trace = torch.cat([chain.latents, chain.means])
    kl = reverse_path_kl(new, old, obs, trace)
    expected = gaussian_kl(chain.means, new.step_sizes(), old.means(obs, chain.latents[:-1]), old.step_sizes())
    torch.testing.assert_close(kl, expected)
    assert (kl > 0.0).all()
    torch.testing.assert_close(reverse_path_kl(new, new, obs, trace), torch.zeros(200), rtol=0, atol=1e-12)


def test_an_unknown_estimator_is_refused_by_name() -> None:
    old, new = old_and_new()
    obs, _, stored = rollout(old, 2)
    with pytest.raises(ValueError, match="'median'"):
        path_kl(new, obs, stored, "median")
