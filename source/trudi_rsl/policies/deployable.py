# SPDX-License-Identifier: BSD-3-Clause
"""The deployable form of a policy: one module from observations to simulator actions, without options."""

# No `from __future__ import annotations` here: TorchScript reads the class annotations and cannot resolve strings.

import copy
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trudi_rsl.policies.base import WHOLE_CHAIN, ChainOptions, ChainPolicy
from trudi_rsl.policies.observations import ObservationEncoder


class Squash(NamedTuple):
    """Simulator actions ``offset + scale * tanh(latent)``."""

    scale: Tensor
    """``[A]``, positive."""
    offset: Tensor
    """``[A]``."""


class InferencePolicy(nn.Module, ABC):
    """``obs [B, O] -> actions [B, A]``, deterministic, with the observation statistics as constants.

    Works with ``torch.jit.script`` and both ONNX exporters. The encoder's statistics and the squash are copied; without
    a squash, the latent is the action.
    """

    input_names = ["obs"]  # noqa: RUF012  RSL-RL's ONNX exporter passes the list on unchanged
    output_names = ["actions"]  # noqa: RUF012

    obs_mean: Tensor
    obs_inverse_std: Tensor
    action_scale: Tensor
    action_offset: Tensor

    def __init__(self, encoder: ObservationEncoder, device: torch.device, squash: Squash | None) -> None:
        super().__init__()
        self.num_obs: int = encoder.num_obs
        self.bounded: bool = squash is not None
        with torch.inference_mode(False), torch.no_grad():
            mean, inverse_std = encoder.statistics(device)
            scale, offset = squash or (torch.ones(1, device=device), torch.zeros(1, device=device))
            self._register(obs_mean=mean, obs_inverse_std=inverse_std, action_scale=scale, action_offset=offset)

    def _register(self, **constants: Tensor) -> None:
        """Register copies of the tensors as buffers."""
        for name, value in constants.items():
            self.register_buffer(name, value.detach().clone())

    @abstractmethod
    def latent(self, normalized: Tensor) -> Tensor:
        """Return pre-squash actions ``[B, A]`` for normalised observations ``[B, O]``."""

    def forward(self, obs: Tensor) -> Tensor:
        """Return simulator actions ``[B, A]`` for raw observations ``[B, O]``."""
        return self.to_simulator(self.latent(self.normalized(obs)))

    def normalized(self, obs: Tensor) -> Tensor:
        """Return the network's input for raw observations ``[B, O]``."""
        return (obs - self.obs_mean) * self.obs_inverse_std

    def to_simulator(self, latent: Tensor) -> Tensor:
        """Return the simulator actions of pre-squash actions, both ``[B, A]``."""
        if self.bounded:
            return self.action_offset + self.action_scale * torch.tanh(latent)
        return latent

    @torch.jit.export
    def reset(self) -> None:
        """Do nothing; deployment stacks call it at the start of every episode."""

    @property
    def input_size(self) -> int:
        """Size ``O`` of the observation, as RSL-RL's models name it."""
        return self.num_obs

    in_features = input_size  # the name that Isaac Lab 2.3's exporter reads

    def get_dummy_inputs(self, batch_size: int = 1) -> tuple[Tensor, ...]:
        """Return example inputs: observations ``[B, O]``."""
        return (torch.zeros(batch_size, self.num_obs),)


class ChainInferencePolicy(InferencePolicy):
    """A chain ``x <- contraction_k x + gain_k u(x, s, k)`` from a fixed start.

    Everything that does not depend on the observation (step sizes, step features) is a constant, so the exported graph
    contains little more than the layers of the score network. Raises a ValueError if the options request more steps
    than were trained.
    """

    latent_weight: Tensor
    obs_weight: Tensor
    obs_bias: Tensor
    time_features: Tensor
    contraction: Tensor
    gain: Tensor
    start: Tensor
    start_std: float

    def __init__(
        self, encoder: ObservationEncoder, actor: ChainPolicy, options: ChainOptions, squash: Squash | None = None
    ) -> None:
        with torch.inference_mode(False), torch.no_grad():
            network, time_features, contraction, gain = actor.chain_steps(options)
            latent_weight, obs_weight, _ = network.input_weights()
            super().__init__(encoder, gain.device, squash)
            self._register(latent_weight=latent_weight, obs_weight=obs_weight, obs_bias=network.input_layer.bias)
            self._register(time_features=time_features, contraction=contraction, gain=gain)
            self._register(start=actor.fixed_start(options, gain))
        self.start_std = actor.prior_std
        self.num_steps = len(gain)
        self.encoder = _detached_copy(network.encoder)
        self.trunk = _detached_copy(network.trunk)
        self.output_layer = _detached_copy(network.output_layer)
        self.eval()

    def latent(self, normalized: Tensor) -> Tensor:
        """Return ``x_N`` ``[B, A]`` for normalised observations ``[B, O]``."""
        return self.follow(normalized, self.start.expand(normalized.shape[0], -1))

    def follow(self, normalized: Tensor, x: Tensor) -> Tensor:
        """Return ``x_N`` ``[B, A]`` for normalised observations ``[B, O]`` and ``x_0`` ``[B, A]``."""
        obs_features = F.linear(self.encoder(normalized), self.obs_weight, self.obs_bias)
        for k in range(self.num_steps):
            hidden = F.linear(x, self.latent_weight) + obs_features + self.time_features[k]
            x = self.contraction[k] * x + self.gain[k] * self.output_layer(self.trunk(hidden))
        return x


class LatentInputPolicy(nn.Module):
    """A chain, shared and not copied, whose start is an input: ``obs [B, O]``, ``latent [B, A] -> actions [B, A]``."""

    input_names = ["obs", "latent"]  # noqa: RUF012  as in InferencePolicy
    output_names = ["actions"]  # noqa: RUF012

    def __init__(self, policy: ChainInferencePolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: Tensor, latent: Tensor) -> Tensor:
        """Return simulator actions ``[B, A]`` for raw observations ``[B, O]`` and initial latents ``[B, A]``.

        Latents are in units of their standard deviation: standard normal samples start the chain as in training.
        """
        policy = self.policy
        return policy.to_simulator(policy.follow(policy.normalized(obs), policy.start_std * latent))

    def get_dummy_inputs(self, batch_size: int = 1) -> tuple[Tensor, ...]:
        """Return example inputs: observations ``[B, O]`` and initial latents ``[B, A]``."""
        return (torch.zeros(batch_size, self.policy.num_obs), torch.zeros(batch_size, self.policy.start.shape[1]))


class MeanInferencePolicy(InferencePolicy):
    """A Gaussian policy's mean, computed by a copy of ``network`` from normalised observations ``[B, O]``."""

    def __init__(self, encoder: ObservationEncoder, network: nn.Module, squash: Squash | None = None) -> None:
        super().__init__(encoder, next(network.parameters()).device, squash)
        self.network = _detached_copy(network)
        self.eval()

    def latent(self, normalized: Tensor) -> Tensor:
        """Return the mean ``[B, A]`` for normalised observations ``[B, O]``."""
        return self.network(normalized)


def _detached_copy(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).requires_grad_(False)


class DeployablePolicy(nn.Module, ABC):
    """A policy that can act deterministically and be exported."""

    actor_obs: ObservationEncoder
    """The observation groups of the actor, and their normaliser."""

    @abstractmethod
    def deterministic_actions(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return the simulator actions ``[B, A]`` of the deterministic policy at latents of its encoder ``[B, O]``.

        The start holds initial latents ``[B, A]``; None is the fixed start of the options. Raises a ValueError for
        options that the policy does not support.
        """

    @abstractmethod
    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> InferencePolicy:
        """Return a frozen copy of the current deterministic policy on its latents, unaffected by further training.

        Raises a ValueError for options that the policy does not support.
        """

    @abstractmethod
    def describe(self, options: ChainOptions = WHOLE_CHAIN) -> dict[str, Any]:
        """Return export metadata of what :meth:`deployable` returns for these options."""

    # -- RSL-RL's model interface ---------------------------------------------------------------------------------

    @property
    def is_recurrent(self) -> bool:
        """Whether the policy has a memory."""
        return False

    def update_normalization(self, obs: Any) -> None:
        """Update the observation statistics with the groups of one step, each observation once."""
        self.actor_obs.update(self.actor_obs.concatenate(obs))

    def reset(self, dones: Tensor | None = None, hidden_state: object = None) -> None:
        """Do nothing: the policy has no memory."""

    def get_hidden_state(self) -> None:
        """Return None: the policy has no memory."""

    def as_jit(self) -> nn.Module:
        """Return the deployable policy, ``obs [1, O] -> actions [1, A]``, ready for ``torch.jit.script``."""
        return self.deployable()

    def as_onnx(self, verbose: bool = False) -> nn.Module:
        """Return the deployable policy, with the input and output names that RSL-RL's ONNX exporter reads."""
        return self.deployable()
