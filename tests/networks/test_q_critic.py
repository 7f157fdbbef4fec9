# SPDX-License-Identifier: BSD-3-Clause
"""The Q critic's heads and its start."""

import pytest
import torch
from torch import nn

from trudi_rsl.networks import HLGauss, QCritic
from trudi_rsl.networks.q_critic import ZERO_CODE_GAIN


def test_values_start_near_zero_wherever_zero_lies_in_the_range() -> None:
    for vmin, vmax in ((-10.0, 10.0), (-100.0, 500.0)):
        critic = QCritic(6, 2, 32, vmin, vmax)
        values = critic.value(torch.randn(100, 6), torch.rand(100, 2))
        assert values.abs().max() < 0.02 * (vmax - vmin)


def test_logits_are_the_heads_plus_forty_times_the_learned_code_of_zero() -> None:
    critic = QCritic(6, 2, 32, -10.0, 10.0, 51)
    torch.testing.assert_close(critic.zero_code.data, HLGauss(-10.0, 10.0, 51).encode(torch.tensor(0.0)))
    obs, actions = torch.randn(4, 6), torch.rand(4, 2)
    out = critic(obs, actions)
    torch.testing.assert_close(out.logits, critic.value_head(out.features) + ZERO_CODE_GAIN * critic.zero_code)
    assert ZERO_CODE_GAIN == 40.0 and critic.zero_code.requires_grad


def test_value_is_the_mean_of_the_predicted_distribution() -> None:
    critic = QCritic(6, 2, 32, -10.0, 10.0, 51)
    nn.init.normal_(critic.value_head[-1].weight)  # type: ignore[arg-type]
    obs, actions = torch.randn(4, 6), torch.rand(4, 2)
    out = critic(obs, actions)
    expected = (out.logits.softmax(-1) * torch.linspace(-10.0, 10.0, 51)).sum(-1)
    values, features = critic.value_and_features(obs, actions)
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(critic.value(obs, actions), expected)
    torch.testing.assert_close(features, out.features)


def test_features_see_observation_and_action() -> None:
    critic = QCritic(6, 2, 32, -10.0, 10.0)
    obs, actions = torch.randn(4, 6, requires_grad=True), torch.rand(4, 2, requires_grad=True)
    for gradient in torch.autograd.grad(critic(obs, actions).features.square().sum(), [obs, actions]):
        assert (gradient != 0.0).all()


@pytest.mark.parametrize("shape", [(5,), (3, 5)])
def test_leading_dimensions_pass_through(shape: tuple[int, ...]) -> None:
    critic = QCritic(6, 2, 16, -1.0, 1.0, 11)
    out = critic(torch.randn(*shape, 6), torch.rand(*shape, 2))
    assert out.logits.shape == (*shape, 11)
    assert out.features.shape == out.predicted_features.shape == (*shape, 16)
    assert critic.decode(out.logits).shape == shape
