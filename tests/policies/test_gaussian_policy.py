# SPDX-License-Identifier: BSD-3-Clause
"""The tanh-Gaussian policy against torch's distributions, in float64."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from trudi_rsl.algorithms.trust_region import OldGaussians, from_trace, path_kl, reverse_path_kl, step_sizes_of
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.policies.gaussian import INIT_STD, LOG_STD_RANGE, Gaussian, GaussianPolicy, kl_divergence

pytestmark = pytest.mark.usefixtures("float64")
SAMPLES = 200_000
OBS, ACTIONS = 3, 2


def policy(residual: bool = False) -> GaussianPolicy:
    """Return a small policy whose mean and deviation depend on the state."""
    made = GaussianPolicy(OBS, ACTIONS, hidden_dims=[8, 8], residual=residual)
    torch.nn.init.normal_(made.output_layer.weight, std=0.5)
    return made


def unit_actions(gaussian: Gaussian, squash: TanhTransform | None = None) -> Independent:
    """Return torch's own distribution of the unit actions."""
    normal = Normal(gaussian.mean, gaussian.log_std.exp())
    return Independent(TransformedDistribution(normal, squash or TanhTransform(cache_size=1)), 1)


def gaussians(batch: int) -> Gaussian:
    return Gaussian(torch.randn(batch, ACTIONS), 0.5 * torch.randn(batch, ACTIONS))


def test_log_prob_is_the_density_of_the_squashed_action() -> None:
    actor, obs = policy(), torch.randn(500, OBS)
    decision = actor.decide(obs, actor.draw_noise(500))
    # its cache returns the latent, which atanh recovers only approximately
    squash = TanhTransform(cache_size=1)
    actions = squash(decision.latent)
    assert actions is not None
    torch.testing.assert_close(decision.log_prob, unit_actions(actor(obs), squash).log_prob(actions))


def test_log_prob_stays_finite_where_tanh_saturates() -> None:
    actor = policy()
    with torch.no_grad():
        actor.output_layer.bias[:ACTIONS] = 400.0
    decision = actor.decide(torch.randn(9, OBS), actor.draw_noise(9))
    assert (decision.action == 1.0).all()
    assert torch.isfinite(decision.log_prob).all()


def test_the_log_density_integrates_to_one() -> None:
    actor = GaussianPolicy(OBS, 1, hidden_dims=[8])
    obs = torch.zeros(20_001, OBS)
    mean, log_std = actor(obs)
    # noise that makes the action run over [-1, 1] evenly
    actions = torch.linspace(-1.0, 1.0, 20_003)[1:-1, None]
    decision = actor.decide(obs, ((actions.atanh() - mean) / log_std.exp())[None])
    torch.testing.assert_close(decision.action, actions)
    mass = torch.trapezoid(decision.log_prob.exp(), actions[:, 0])
    torch.testing.assert_close(mass, torch.ones(()), rtol=0, atol=1e-3)


def test_the_mean_of_minus_log_prob_is_the_entropy() -> None:
    actor, obs = policy(), torch.randn(1, OBS)
    decision = actor.decide(obs.expand(SAMPLES, -1), actor.draw_noise(SAMPLES))
    gaussian = actor(obs)
    latent = gaussian.mean + gaussian.log_std.exp() * torch.randn(SAMPLES, ACTIONS)
    # entropy of the Gaussian plus the squashing's mean log-determinant
    squashed = torch.log1p(-latent.tanh().square()).sum(-1)
    expected = Normal(gaussian.mean, gaussian.log_std.exp()).entropy().sum() + squashed.mean()
    error = (decision.log_prob.var() + squashed.var()).sqrt() / SAMPLES**0.5
    assert (-decision.log_prob.mean() - expected).abs() < 5.0 * error


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


def test_kl_is_that_of_torch_and_that_of_a_sample() -> None:
    p, q = gaussians(4), gaussians(4)
    normal_p, normal_q = (Normal(g.mean, g.log_std.exp()) for g in (p, q))
    kl = kl_divergence(p, q)
    torch.testing.assert_close(kl, torch.distributions.kl_divergence(normal_p, normal_q).sum(-1))
    drawn = normal_p.sample(torch.Size([SAMPLES]))
    log_ratio = (normal_p.log_prob(drawn) - normal_q.log_prob(drawn)).sum(-1)
    assert ((log_ratio.mean(0) - kl).abs() < 5.0 * log_ratio.std(0) / SAMPLES**0.5).all()


def test_squashing_does_not_change_the_kl() -> None:
    p, q = gaussians(1), gaussians(1)
    actions = unit_actions(p).sample(torch.Size([SAMPLES]))
    log_ratio = unit_actions(p).log_prob(actions) - unit_actions(q).log_prob(actions)
    assert (log_ratio.mean() - kl_divergence(p, q)).abs() < 5.0 * log_ratio.std() / SAMPLES**0.5


def test_kl_to_itself_is_exactly_zero_and_small_differences_survive_float32() -> None:
    p = gaussians(50)
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
    assert (path_kl(old, obs, from_trace(trace, step_sizes_of(old))) == 0.0).all()
    kl = path_kl(new, obs, from_trace(trace, step_sizes_of(old)))
    torch.testing.assert_close(kl, kl_divergence(old(obs), new(obs)))
    torch.testing.assert_close(reverse_path_kl(new, old, obs, traced(new, obs)), kl_divergence(new(obs), old(obs)))
    rows = torch.tensor([4, 7, 7])
    torch.testing.assert_close(path_kl(new, obs[rows], from_trace(trace, None).at(rows, 30)), kl[rows])


def test_policies_of_two_kinds_have_no_kl() -> None:
    obs = torch.randn(2, OBS)
    old = OldGaussians(*traced(policy(), obs))
    with pytest.raises(TypeError, match="No KL between a DiffusionPolicy and OldGaussians"):
        path_kl(DiffusionPolicy(OBS, ACTIONS, hidden_dims=[8]), obs, old)
