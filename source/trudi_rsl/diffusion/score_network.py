# SPDX-License-Identifier: BSD-3-Clause
"""The control (score difference) network ``u_theta(x, s, k)`` of the denoising chain, and its hidden layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trudi_rsl.diffusion.products import Multiply

NUM_FREQUENCIES = 32
TIME_HIDDEN_DIM = 32
TIME_EMBEDDING_DIM = 16
OUTPUT_SCALE = 1e-8
"""Initial scale of the last layer, so that the chain starts as the prior's own diffusion."""


class HiddenBlock(nn.Module):
    """``activation(LayerNorm(Linear(h)))``, added to its input when ``residual``."""

    def __init__(self, in_dim: int, out_dim: int, residual: bool, activation: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        self.norm = nn.LayerNorm(out_dim)
        self.activation = activation()
        self.residual = residual

    def forward(self, h: Tensor) -> Tensor:
        """Map features ``[..., in_dim]`` to ``[..., out_dim]``."""
        return self.activate(h, self.linear(h))

    def activate(self, h: Tensor, product: Tensor) -> Tensor:
        """Return the block's output for features ``[..., in_dim]`` and their linear map ``[..., out_dim]``."""
        out = self.activation(self.norm(product))
        return h + out if self.residual else out


def check_widths(hidden_dims: Sequence[int], residual: bool) -> None:
    """Raise a ValueError if there are no widths, or unequal ones with ``residual``."""
    if not hidden_dims:
        raise ValueError("hidden_dims must name at least one layer.")
    if residual and len(set(hidden_dims)) > 1:
        raise ValueError(f"Residual blocks need equal widths, got hidden_dims={list(hidden_dims)}.")


def hidden_trunk(hidden_dims: Sequence[int], residual: bool, activation: type[nn.Module] = nn.GELU) -> nn.Sequential:
    """Return the layers between a network's first and last: the activation, then a block per further width."""
    blocks = (HiddenBlock(i, o, residual, activation) for i, o in pairwise(hidden_dims))
    return nn.Sequential(activation(), *blocks)


class TimeEmbedding(nn.Module):
    """Embedding of a time: sines and cosines with fixed frequencies and learned phases, then a small MLP."""

    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.linspace(0.1, 100.0, NUM_FREQUENCIES), persistent=False)
        self.phase = nn.Parameter(torch.zeros(NUM_FREQUENCIES))
        self.mlp = nn.Sequential(
            nn.Linear(2 * NUM_FREQUENCIES, TIME_HIDDEN_DIM), nn.GELU(), nn.Linear(TIME_HIDDEN_DIM, TIME_EMBEDDING_DIM)
        )

    def forward(self, times: Tensor) -> Tensor:
        """Return the embeddings ``[..., 16]`` of times ``[...]``, such as raw step indices."""
        angle = times[..., None] * self.frequencies + self.phase
        return self.mlp(torch.cat([angle.sin(), angle.cos()], dim=-1))


class ScoreNetwork(nn.Module):
    """MLP on (x, observation, step) whose first layer is evaluated in three parts.

    The first layer is linear in the concatenated input, so the observation's part is computed once per state and the
    step's part once per step; only the latent's part is needed for every (state, step) pair. A state encoder replaces
    the observation by features that are also computed once per state, so the rest of the network can be small.

    Args:
        num_obs: Observation dimension ``O``.
        num_actions: Action dimension ``A``.
        hidden_dims: Width of the first layer and of every hidden block; a ValueError if empty.
        residual: Add a skip connection around each hidden block; a ValueError if their widths differ.
        encoder_dims: Widths of the state encoder; empty for no encoder.
        activation: Class of the hidden layers' activation.
    """

    def __init__(
        self,
        num_obs: int,
        num_actions: int,
        hidden_dims: Sequence[int],
        residual: bool = False,
        encoder_dims: Sequence[int] = (),
        activation: type[nn.Module] = nn.GELU,
    ) -> None:
        super().__init__()
        check_widths(hidden_dims, residual)
        self.encoder: nn.Module = nn.Identity()
        if encoder_dims:
            trunk = hidden_trunk(encoder_dims, residual=False, activation=activation)
            self.encoder = nn.Sequential(nn.Linear(num_obs, encoder_dims[0]), *trunk)
        self.input_dims = [num_actions, encoder_dims[-1] if encoder_dims else num_obs, TIME_EMBEDDING_DIM]
        self.time_embedding = TimeEmbedding()
        self.input_layer = nn.Linear(sum(self.input_dims), hidden_dims[0])
        self.trunk = hidden_trunk(hidden_dims, residual, activation)
        self.output_layer = nn.Linear(hidden_dims[-1], num_actions)
        with torch.no_grad():
            self.output_layer.weight.mul_(OUTPUT_SCALE)
            self.output_layer.bias.zero_()

    def input_weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the first layer's weights for the latent ``[H, A]``, the (encoded) observation and the step."""
        latent, obs, time = self.input_layer.weight.split(self.input_dims, dim=1)
        return latent, obs, time

    def obs_features(self, obs: Tensor) -> Tensor:
        """Return the observation's part of the first layer, ``[..., O] -> [..., H]``."""
        return F.linear(self.encoder(obs), self.input_weights()[1], self.input_layer.bias)

    def time_features(self, num_steps: int) -> Tensor:
        """Return the steps' part of the first layer for steps ``0 .. N-1``, ``[N, H]``."""
        phase = self.time_embedding.phase
        return self.features_at(torch.arange(num_steps, device=phase.device, dtype=phase.dtype))

    def features_at(self, times: Tensor) -> Tensor:
        """Return the times' part of the first layer, ``[...] -> [..., H]``."""
        return F.linear(self.time_embedding(times), self.input_weights()[2])

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the control ``u`` at latents ``x``, both ``[..., A]``; ``condition`` sums obs and step features."""
        return self.output_layer(self.trunk(F.linear(x, self.input_weights()[0]) + condition))

    def control(self, x: Tensor, condition: Tensor, multiply: Multiply) -> Tensor:
        """Return the result of :meth:`forward`, with ``multiply`` in place of every matrix product."""
        activation, *blocks = self.trunk
        h = activation(multiply(x, self.input_weights()[0], None) + condition)
        for block in blocks:
            assert isinstance(block, HiddenBlock)
            h = block.activate(h, multiply(h, block.linear.weight, block.linear.bias))
        return multiply(h, self.output_layer.weight, self.output_layer.bias)
