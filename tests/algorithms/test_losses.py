# SPDX-License-Identifier: BSD-3-Clause
"""The gate and the signs of the duals."""

import pytest
import torch
from torch import Tensor

from trudi_rsl.algorithms.objectives import (
    critic_losses,
    gated_actor_loss,
    masked_mean,
    multiplier_loss,
    temperature_loss,
)
from trudi_rsl.networks import CriticOutput

ALPHA, LAMBDA, EPS = torch.tensor(0.3), torch.tensor(0.7), 0.1


def gated(log_probs: Tensor, values: Tensor, kl: Tensor) -> Tensor:
    return gated_actor_loss(log_probs, values, kl, kl.detach() <= EPS, ALPHA, LAMBDA)


def test_state_inside_contributes_alpha_lp_minus_q_and_state_outside_lambda_c_only() -> None:
    log_probs = torch.tensor([-1.0, -2.0, -4.0], requires_grad=True)
    values = torch.tensor([10.0, 20.0, 40.0], requires_grad=True)
    kl = torch.tensor([0.05, EPS, 0.5], requires_grad=True)
    loss = gated(log_probs, values, kl)
    torch.testing.assert_close(loss, ((0.3 * -1.0 - 10.0) + (0.3 * -2.0 - 20.0) + 0.7 * 0.5) / torch.tensor(3.0))
    gradients = torch.autograd.grad(loss, [log_probs, values, kl])
    expected = torch.tensor([[0.3, 0.3, 0.0], [-1.0, -1.0, 0.0], [0.0, 0.0, 0.7]]) / 3.0
    torch.testing.assert_close(torch.stack(gradients), expected)


def test_infinite_terms_of_the_closed_branch_do_not_reach_the_loss() -> None:
    inf = float("inf")
    loss = gated(torch.tensor([inf, -1.0]), torch.tensor([0.0, 2.0]), torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(loss, torch.tensor((0.35 - 0.3 - 2.0) / 2.0))


@pytest.mark.parametrize(("entropy", "kl"), [(-1.0, 0.5), (-2.0, EPS), (-5.0, 0.0)])
def test_a_dual_loss_is_its_own_derivative_by_the_logarithm(entropy: float, kl: float) -> None:
    log_alpha, log_lambda = (v.log().requires_grad_() for v in (ALPHA, LAMBDA))
    by_alpha = temperature_loss(log_alpha, torch.tensor(entropy), -2.0)
    by_lambda = multiplier_loss(log_lambda, torch.tensor(kl), EPS)
    gradients = torch.autograd.grad([by_alpha, by_lambda], [log_alpha, log_lambda])
    torch.testing.assert_close(gradients, (by_alpha.detach(), by_lambda.detach()))
    # descent: entropy above its target lowers alpha, a path KL above eps raises lambda
    torch.testing.assert_close(gradients, (ALPHA * (entropy + 2.0), -LAMBDA * (kl - EPS)))


def test_masked_mean_counts_only_the_rows_of_the_mask() -> None:
    values = torch.tensor([1.0, 2.0, 30.0])
    assert masked_mean(values, torch.tensor([True, True, False])) == 1.5
    assert masked_mean(values, torch.zeros(3, dtype=torch.bool)) == 0.0


def test_feature_targets_and_invalid_rows_do_not_reach_the_critic_losses() -> None:
    output = CriticOutput(torch.randn(3, 5), torch.randn(3, 4), torch.randn(3, 4))
    codes, features = torch.randn(3, 5).softmax(-1), torch.randn(3, 4)
    valid, features_valid = torch.tensor([True, False, True]), torch.tensor([False, True, True])
    value_loss, feature_loss = critic_losses(output, codes, features, valid, features_valid)
    torch.testing.assert_close(value_loss, torch.nn.functional.cross_entropy(output.logits[valid], codes[valid]))
    torch.testing.assert_close(feature_loss, torch.nn.functional.mse_loss(output.predicted_features[1:], features[1:]))
