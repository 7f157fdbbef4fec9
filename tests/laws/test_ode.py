# SPDX-License-Identifier: BSD-3-Clause
"""The deterministic sampler against the stochastic one."""

from itertools import pairwise

import pytest
import torch

from tests.laws.linear_gaussian import marginals, with_linear_score
from trudi_rsl.policies import ChainOptions, DiffusionPolicy

pytestmark = pytest.mark.usefixtures("float64")

TARGET_MEAN, TARGET_STD = 0.7, 0.5


def test_ode_at_score_scale_one_is_the_sde_without_noise() -> None:
    policy = DiffusionPolicy(3, 2, hidden_dims=[8, 8])
    torch.nn.init.normal_(policy.score_network.output_layer.weight)
    obs, noise = torch.randn(10, 3), policy.draw_noise(10)
    noise[1:] = 0.0
    torch.testing.assert_close(
        policy.ode_path(obs, start=policy.prior_std * noise[0])[-1], policy.sample(obs, noise).latents[-1]
    )


def exact_reversal(num_steps: int) -> DiffusionPolicy:
    """Return the policy that reverses the noising of N(TARGET_MEAN, TARGET_STD^2) with its exact score.

    The noising ``dy = p(y) ds + sqrt(2) dW`` is an Ornstein-Uhlenbeck process: after the time ``s`` the target has the
    mean ``m e^(-s/s0^2)`` and the variance ``s0^2 + (v - s0^2) e^(-2s/s0^2)``, and at step ``k`` the time left is the
    sum of the later step sizes. Its reversal has the drift ``2 score - p``, so ``u = 2 (score - p)``. The small
    friction makes the noising long enough to end in the prior, which is where the chain starts.
    """
    policy = DiffusionPolicy(1, 1, num_steps=num_steps, init_friction=0.01, hidden_dims=[2]).requires_grad_(False)
    prior_var = policy.prior_std**2
    left = policy.step_sizes()[:, 0].flip(0).cumsum(0).flip(0)
    mean = TARGET_MEAN * (-left / prior_var).exp()
    var = prior_var + (TARGET_STD**2 - prior_var) * (-2.0 * left / prior_var).exp()
    return with_linear_score(policy, (2.0 / prior_var - 2.0 / var)[:, None, None], (2.0 * mean / var)[:, None])


def test_ode_at_score_scale_half_has_the_sdes_marginals_as_steps_grow() -> None:
    gaps = []
    for num_steps in (128, 256, 512, 1024):
        policy = exact_reversal(num_steps)
        sde = marginals(policy)[-1]
        # x_N is an affine map of x_0 ~ N(0, s0^2)
        path = policy.ode_path(torch.zeros(2, 1), ChainOptions(0.5), torch.tensor([[0.0], [1.0]]))
        mean, at_one = path[-1][:, 0]
        std = (at_one - mean).abs() * policy.prior_std
        gaps.append(max((mean - sde.mean).abs().item(), (std - sde.stddev).abs().item()))
    for coarse, fine in pairwise(gaps):
        assert fine < 0.6 * coarse
    assert gaps[-1] < 0.01


def test_sde_with_the_exact_score_reaches_the_target_as_steps_grow() -> None:
    coarse, fine = (marginals(exact_reversal(n))[-1] for n in (128, 1024))
    assert fine.mean.item() == pytest.approx(TARGET_MEAN, abs=0.01)
    assert fine.stddev.item() == pytest.approx(TARGET_STD, abs=0.01)
    assert (coarse.stddev - TARGET_STD).abs() > (fine.stddev - TARGET_STD).abs()
