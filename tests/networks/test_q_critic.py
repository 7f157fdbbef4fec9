# SPDX-License-Identifier: BSD-3-Clause
"""The Q critic's heads and its start."""

import pytest
import torch
from torch import Tensor, nn

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


def fitted_critic(obs: Tensor, actions: Tensor) -> QCritic:
    """Return a critic on [-10, 10] that spreads its values over the range."""
    critic = QCritic(num_obs=3, num_actions=2, hidden_dim=32, vmin=-10.0, vmax=10.0, num_bins=101)
    targets = 6.0 * obs.tanh().sum(-1).tanh()
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    for _ in range(300):
        loss = -(critic.hl_gauss.encode(targets) * critic(obs, actions).logits.log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return critic.requires_grad_(False)


@pytest.mark.parametrize(("vmin", "vmax"), [(-30.0, 10.0), (-10.0, 30.0), (-30.0, 30.0)])
def test_widening_the_range_keeps_the_values_to_a_bin_and_to_the_same_range_all_parameters(
    vmin: float, vmax: float
) -> None:
    obs, actions = torch.randn(256, 3), torch.rand(256, 2)
    critic = fitted_critic(obs, actions)
    before = critic.value(obs, actions)
    assert before.std() > 3.0
    state = {name: value.clone() for name, value in critic.state_dict().items()}
    critic.widen(critic.hl_gauss.vmin.clone(), critic.hl_gauss.vmax.clone())
    torch.testing.assert_close(critic.state_dict(), state, rtol=1e-5, atol=1e-5)
    critic.widen(torch.tensor(vmin), torch.tensor(vmax))
    bin_width = (vmax - vmin) / 100
    assert (critic.value(obs, actions) - before).abs().mean() < bin_width
    assert (critic.hl_gauss.vmin, critic.hl_gauss.vmax) == (vmin, vmax)
