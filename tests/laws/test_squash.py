# SPDX-License-Identifier: BSD-3-Clause
"""The log-determinant of the squashing against autograd's Jacobian."""

import pytest
import torch
from torch.autograd.functional import jacobian

from trudi_rsl.diffusion import Chain
from trudi_rsl.diffusion.chain import log_det_squash, log_prob_bound
from trudi_rsl.policies.diffusion import DiffusionPolicy

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("scale", [None, torch.tensor([0.5, 2.0, 10.0], dtype=torch.float64)])
def test_log_det_squash_is_that_of_autograds_jacobian(scale: torch.Tensor | None) -> None:
    for x in 2.0 * torch.randn(10, 3):
        matrix = jacobian(lambda v: (1.0 if scale is None else scale) * v.tanh() + 0.3, x)
        torch.testing.assert_close(log_det_squash(x, scale), torch.linalg.slogdet(matrix).logabsdet)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_det_squash_and_its_gradient_are_finite_where_tanh_saturates(dtype: torch.dtype) -> None:
    x = torch.tensor([[50.0], [-50.0], [0.0]], dtype=dtype, requires_grad=True)
    value = log_det_squash(x)
    # 2 (ln 2 - |x|) far from zero
    expected = torch.tensor([2 * 0.6931471805599453 - 100.0] * 2 + [0.0], dtype=dtype)
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(gradient[:, 0], torch.tensor([-2.0, 2.0, 0.0], dtype=dtype))


def test_policys_bound_is_the_chains_minus_the_squashings_log_det() -> None:
    policy = DiffusionPolicy(1, 2, hidden_dims=[2])
    chain: Chain = policy.sample(torch.zeros(5, 1), policy.draw_noise(5))
    before = log_prob_bound(chain.latents, chain.noise, policy.step_sizes(), policy.prior_std)
    correction = torch.log1p(-chain.latents[-1].tanh().square()).sum(-1)
    torch.testing.assert_close(policy.log_prob_bound(chain), before - correction)


def test_entropy_bound_of_a_near_uniform_action_stays_below_ln_2_per_dimension() -> None:
    """``E[-lp]`` of any policy is at most the entropy of the uniform action, ``ln 2`` per dimension."""
    for std in (0.5, 0.9, 1.5, 2.5):
        policy = DiffusionPolicy(1, 1, prior_std=std, hidden_dims=[2])
        chain = policy.sample(torch.zeros(20_000, 1), policy.draw_noise(20_000))
        entropy_bound = -policy.log_prob_bound(chain)
        assert entropy_bound.mean() < 0.6931 + 5.0 * entropy_bound.std() / 20_000**0.5
