# SPDX-License-Identifier: BSD-3-Clause
"""The tanh-Gaussian policy against torch's distributions, in float64."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution
from torch.distributions import kl_divergence as torchs_kl

from trudi_rsl.algorithms.trust_region import OldGaussians, from_trace, path_kl, reverse_path_kl, step_sizes_of
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.policies.gaussian import INIT_STD, LOG_STD_RANGE, Gaussian, GaussianPolicy, kl_divergence

pytestmark = pytest.mark.usefixtures("float64")
OBS, ACTIONS = 3, 2


def policy(residual: bool = False) -> GaussianPolicy:
    """Return a small policy whose mean and deviation depend on the state."""
    made = GaussianPolicy(OBS, ACTIONS, hidden_dims=[8, 8], residual=residual)
    torch.nn.init.normal_(made.output_layer.weight, std=0.5)
    return made


def gaussians(batch: int) -> Gaussian:
    return Gaussian(torch.randn(batch, ACTIONS), 0.5 * torch.randn(batch, ACTIONS))


def test_log_prob_is_the_density_of_the_squashed_action() -> None:
    actor, obs = policy(), torch.randn(500, OBS)
    decision = actor.decide(obs, actor.draw_noise(500))
    # its cache returns the latent, which atanh recovers only approximately
    squash = TanhTransform(cache_size=1)
    actions = squash(decision.latent)
    assert actions is not None
    mean, log_std = actor(obs)
    expected = Independent(TransformedDistribution(Normal(mean, log_std.exp()), squash), 1)
    torch.testing.assert_close(decision.log_prob, expected.log_prob(actions))


def test_log_prob_stays_finite_where_tanh_saturates() -> None:
    actor = policy()
    with torch.no_grad():
        actor.output_layer.bias[:ACTIONS] = 400.0
    decision = actor.decide(torch.randn(9, OBS), actor.draw_noise(9))
    assert (decision.action == 1.0).all()
    assert torch.isfinite(decision.log_prob).all()


def test_a_fresh_policy_is_nearly_the_unit_gaussian_in_every_state() -> None:
    gaussian = GaussianPolicy(OBS, ACTIONS)(torch.randn(200, OBS))
    assert gaussian.mean.abs().max() < 0.1
    assert (gaussian.log_std.exp() / INIT_STD - 1.0).abs().max() < 0.1


def test_deviations_stay_in_their_range_for_any_network_output() -> None:
    actor = policy()
    with torch.no_grad():
        actor.output_layer.weight.mul_(1e4)
    log_std = actor(torch.randn(500, OBS)).log_std
    low, high = LOG_STD_RANGE
    assert (log_std >= low).all() and (log_std <= high).all()
    assert log_std.min() < low + 0.01 and log_std.max() > high - 0.01


@pytest.mark.parametrize("residual", [False, True])
def test_skip_connections_reach_around_the_hidden_blocks(residual: bool) -> None:
    actor = policy(residual)
    first, trunk, last = actor.network
    with torch.no_grad():
        trunk[1].norm.weight.zero_()  # type: ignore[index]
        trunk[1].norm.bias.zero_()  # type: ignore[index]
    obs = torch.randn(5, OBS)
    hidden = torch.nn.functional.gelu(first(obs)) if residual else torch.zeros(5, 8)
    torch.testing.assert_close(actor(obs).mean, last(hidden)[:, :ACTIONS])


def test_kl_is_that_of_torch_exactly_zero_to_itself_and_precise_for_small_differences_in_float32() -> None:
    p, q = gaussians(50), gaussians(50)
    normal_p, normal_q = (Normal(g.mean, g.log_std.exp()) for g in (p, q))
    torch.testing.assert_close(kl_divergence(p, q), torchs_kl(normal_p, normal_q).sum(-1))
    assert (kl_divergence(p, p) == 0.0).all()
    near = Gaussian(p.mean, p.log_std + 1e-3)
    single = (Gaussian(*(value.float() for value in g)) for g in (p, near))
    torch.testing.assert_close(kl_divergence(*single).double(), kl_divergence(p, near), rtol=1e-2, atol=0)


def traced(actor: GaussianPolicy, obs: Tensor) -> Tensor:
    return actor.decide(obs, actor.draw_noise(len(obs))).trace.detach()


def test_the_trust_region_reads_the_old_gaussian_from_the_trace() -> None:
    old, new, obs = policy(), policy(), torch.randn(30, OBS)
    trace = traced(old, obs)
    assert trace.shape == (old.trace_length, 30, ACTIONS)
    assert (path_kl(old, obs, from_trace(old, trace, step_sizes_of(old))) == 0.0).all()
    kl = path_kl(new, obs, from_trace(old, trace, step_sizes_of(old)))
    torch.testing.assert_close(kl, kl_divergence(old(obs), new(obs)))
    torch.testing.assert_close(reverse_path_kl(new, old, obs, traced(new, obs)), kl_divergence(new(obs), old(obs)))
    rows = torch.tensor([4, 7, 7])
    torch.testing.assert_close(path_kl(new, obs[rows], from_trace(old, trace, None).at(rows, 30)), kl[rows])


def test_policies_of_two_kinds_have_no_kl() -> None:
    obs = torch.randn(2, OBS)
    old = OldGaussians(*traced(policy(), obs))
    with pytest.raises(TypeError, match="No KL between a DiffusionPolicy and OldGaussians"):
        path_kl(DiffusionPolicy(OBS, ACTIONS, hidden_dims=[8]), obs, old)
