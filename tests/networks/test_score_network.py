# SPDX-License-Identifier: BSD-3-Clause
"""The score network's split first layer, its residual option and its start."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from trudi_rsl.diffusion import ScoreNetwork
from trudi_rsl.diffusion.chain import denoising_mean
from trudi_rsl.diffusion.score_network import HiddenBlock
from trudi_rsl.policies import DiffusionPolicy, GaussianPolicy


@pytest.mark.usefixtures("float64")
def test_split_first_layer_equals_one_linear_on_the_concatenated_input() -> None:
    net = ScoreNetwork(3, 2, [8, 8])
    torch.nn.init.normal_(net.output_layer.weight)
    obs, x = torch.randn(5, 3), torch.randn(5, 2)
    for k, time in enumerate(net.time_embedding(torch.arange(4.0))):
        together = net.input_layer(torch.cat([x, obs, time.expand(5, -1)], dim=-1))
        split = net(x, net.obs_features(obs) + net.time_features(4)[k])
        torch.testing.assert_close(split, net.output_layer(net.trunk(together)))


@pytest.mark.usefixtures("float64")
def test_a_state_encoder_is_evaluated_once_per_state_and_stands_for_the_observation() -> None:
    policy, obs = DiffusionPolicy(3, 2, hidden_dims=[4, 4], encoder_dims=[8, 6]), torch.randn(5, 3)
    net = policy.score_network
    torch.nn.init.normal_(net.output_layer.weight)
    encoded = torch.nn.functional.gelu(net.encoder[2].norm(net.encoder[2].linear(F.gelu(net.encoder[0](obs)))))  # type: ignore[index, operator, union-attr]
    x, time = torch.randn(5, 2), net.time_embedding(torch.arange(8.0))
    together = net.input_layer(torch.cat([x, encoded, time[3].expand(5, -1)], dim=-1))
    torch.testing.assert_close(policy.controls(obs, x.expand(8, 5, 2))[3], net.output_layer(net.trunk(together)))
    states: list[torch.Size] = []
    net.encoder.register_forward_hook(lambda *args: states.append(args[2].shape))
    chain = policy.sample(obs, policy.draw_noise(5))
    torch.testing.assert_close(policy.means(obs, chain.latents[:-1]), chain.means)
    assert states == [(5, 6), (5, 6)]


@pytest.mark.usefixtures("float64")
def test_chain_steps_are_mean_plus_sigma_times_noise_with_the_means_of_one_batched_call() -> None:
    policy, obs, noise = DiffusionPolicy(3, 2, hidden_dims=[8, 8]), torch.randn(5, 3), torch.randn(9, 5, 2)
    torch.nn.init.normal_(policy.score_network.output_layer.weight)
    chain = policy.sample(obs, noise)
    torch.testing.assert_close(policy.means(obs, chain.latents[:-1]), chain.means)
    torch.testing.assert_close(chain.latents[0], 2.5 * noise[0])
    sigmas = (2.0 * policy.step_sizes()).sqrt()[:, None]
    torch.testing.assert_close(chain.latents[1:], chain.means + sigmas * noise[1:])


def test_time_embedding_starts_with_sines_and_cosines_of_the_raw_step() -> None:
    embedding = ScoreNetwork(1, 1, [4]).time_embedding
    frequencies = torch.linspace(0.1, 100.0, 32)
    angle = 3.0 * frequencies
    torch.testing.assert_close(embedding(torch.arange(5.0))[3], embedding.mlp(torch.cat([angle.sin(), angle.cos()])))


def test_residual_adds_the_input_of_every_block() -> None:
    plain, residual = HiddenBlock(4, 4, residual=False), HiddenBlock(4, 4, residual=True)
    residual.load_state_dict(plain.state_dict())
    h = torch.randn(3, 4)
    torch.testing.assert_close(plain(h), F.gelu(plain.norm(plain.linear(h))))
    torch.testing.assert_close(residual(h), h + plain(h))
    blocks = [b for b in ScoreNetwork(1, 1, [4, 4, 4], residual=True).trunk if isinstance(b, HiddenBlock)]
    assert [b.residual for b in blocks] == [True, True]


@pytest.mark.parametrize("network", [ScoreNetwork, GaussianPolicy])
@pytest.mark.parametrize(("dims", "residual"), [([], False), ([8, 4], True)])
def test_impossible_widths_are_refused(network: Any, dims: list[int], residual: bool) -> None:
    with pytest.raises(ValueError, match="hidden_dims"):
        network(1, 1, dims, residual)


@pytest.mark.parametrize("residual", [False, True])
def test_fresh_chain_is_the_priors_own_diffusion(residual: bool) -> None:
    policy = DiffusionPolicy(3, 2, hidden_dims=[16, 16], residual=residual)
    chain = policy.sample(10.0 * torch.randn(50, 3), policy.draw_noise(50))
    x = chain.latents[:-1]
    uncontrolled = denoising_mean(x, torch.zeros_like(x), policy.step_sizes()[:, None], policy.prior_std)
    torch.testing.assert_close(chain.means, uncontrolled, rtol=0, atol=1e-6)


def test_gradients_reach_every_parameter_from_the_start() -> None:
    """A zero output layer would leave the layers below without gradient for ever; a tiny one does not."""
    policy = DiffusionPolicy(3, 2, hidden_dims=[8, 8])
    chain = policy.sample(torch.randn(5, 3), policy.draw_noise(5))
    chain.latents[-1].sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0.0 for p in policy.parameters())
