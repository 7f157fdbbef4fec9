# SPDX-License-Identifier: BSD-3-Clause
"""The deployable form of a policy: one module from observations to simulator actions, without options."""

# No `from __future__ import annotations` here: TorchScript reads the class annotations and cannot resolve text.

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trudi_rsl.diffusion import ScoreNetwork
from trudi_rsl.policies.observations import ObservationEncoder
from trudi_rsl.rsl_rl_compat.models import EmpiricalNormalization


@dataclass(frozen=True)
class ChainOptions:
    """Choices of a deterministic chain; policies without one have the defaults only.

    Raises:
        ValueError: If a value is out of range.
    """

    score_scale: float = 1.0
    """Score scale ``c`` of a diffusion policy's ODE, above 0 (paper Eq. 185: 1/2 is the probability-flow ODE); other
    policies have 1 only."""
    num_steps: int | None = None
    """Steps, from 1 to those that the policy was trained with, consecutive ones of which are merged; None is all."""
    seed: int | None = None
    """Seed of the fixed initial latent; None starts at zeros."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if not self.score_scale > 0.0:
            raise ValueError(f"score_scale must be above 0, got {self.score_scale}.")
        if self.num_steps is not None and self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}.")

    def start(self, num_actions: int, std: float) -> Tensor:
        """Return the start of the chain for all states, ``[1, A]``.

        Args:
            num_actions: Action dimension ``A``.
            std: Standard deviation of a random start.
        """
        if self.seed is None:
            return torch.zeros(1, num_actions)
        return std * torch.randn(1, num_actions, generator=torch.Generator().manual_seed(self.seed))

    def starts_for(self, obs: Tensor, num_actions: int, std: float) -> Tensor:
        """Return that start for observations ``[B, O]``, as a view ``[B, A]``, where and as exact as they are."""
        # made on the device: a copy to it would wait for it at every action
        start = obs.new_zeros(1, num_actions) if self.seed is None else self.start(num_actions, std).to(obs)
        return start.expand(len(obs), -1)

    def steps_of(self, num_trained: int) -> int:
        """Return the number of steps of a chain that was trained with ``num_trained``.

        Raises:
            ValueError: If more are asked for.
        """
        if self.num_steps is not None and self.num_steps > num_trained:
            raise ValueError(
                f"num_steps is {self.num_steps}, but the policy was trained with {num_trained} steps; fewer can be "
                "taken, not more."
            )
        return num_trained if self.num_steps is None else self.num_steps

    def describe(self, num_trained: int) -> dict[str, Any]:
        """Return metadata of a chain that was trained with ``num_trained`` steps."""
        return {
            "num_denoise_steps": self.steps_of(num_trained),
            "num_trained_steps": num_trained,
            "score_scale": self.score_scale,
            "initial_latent": "zeros" if self.seed is None else f"normal, seed {self.seed}",
        }


WHOLE_CHAIN = ChainOptions()
"""All steps, unscaled, from zeros."""


def refuse_chain_options(options: ChainOptions, start: Tensor | None = None) -> None:
    """Refuse options of a chain for a policy that has none.

    Raises:
        ValueError: If one is given.
    """
    if options != WHOLE_CHAIN or start is not None:
        given = "an initial latent" if start is not None else str(options)
        raise ValueError(
            "A Gaussian policy acts by its mean, which has no score scale, no steps and no initial latent. Leave them "
            f"at their defaults; got {given}."
        )


# No `from __future__ import annotations` here: TorchScript reads the class annotations and cannot resolve text.


class Squash(NamedTuple):
    """Simulator actions ``offset + scale * tanh(latent)``."""

    scale: Tensor
    """``[A]``, positive."""
    offset: Tensor
    """``[A]``."""


class InferencePolicy(nn.Module, ABC):
    """``obs [B, O] -> actions [B, A]``, deterministic.

    The observation's statistics are constants. Works under ``torch.jit.script`` and both ONNX exporters.

    Args:
        encoder: Normaliser of the observation; later training does not reach the copy.
        device: Where the network is.
        squash: Bounds of the actions; None where the latent is the action.
    """

    input_names = ["obs"]  # noqa: RUF012  RSL-RL's ONNX exporter passes the list on unchanged
    output_names = ["actions"]  # noqa: RUF012

    obs_mean: Tensor
    obs_inverse_std: Tensor
    action_scale: Tensor
    action_offset: Tensor

    def __init__(self, encoder: ObservationEncoder, device: torch.device, squash: Squash | None) -> None:
        super().__init__()
        normalizer = encoder.normalizer
        self.num_obs: int = encoder.num_obs
        self.bounded: bool = squash is not None
        with torch.inference_mode(False), torch.no_grad():
            mean, inverse_std = torch.zeros(self.num_obs, device=device), torch.ones(self.num_obs, device=device)
            if isinstance(normalizer, EmpiricalNormalization):
                mean = normalizer.mean
                inverse_std = 1.0 / (normalizer.std + normalizer.eps)
            scale, offset = squash or (torch.ones(1, device=device), torch.zeros(1, device=device))
            self._keep(obs_mean=mean, obs_inverse_std=inverse_std, action_scale=scale, action_offset=offset)

    def _keep(self, **constants: Tensor) -> None:
        """Register copies of constants."""
        for name, value in constants.items():
            self.register_buffer(name, value.detach().clone())

    @abstractmethod
    def latent(self, normalized: Tensor) -> Tensor:
        """Return actions before squashing ``[B, A]`` for normalised observations ``[B, O]``."""

    def forward(self, obs: Tensor) -> Tensor:
        """Return simulator actions ``[B, A]`` for raw observations ``[B, O]``."""
        return self.to_simulator(self.latent(self.normalized(obs)))

    def normalized(self, obs: Tensor) -> Tensor:
        """Return what the network sees of raw observations ``[B, O]``."""
        return (obs - self.obs_mean) * self.obs_inverse_std

    def to_simulator(self, latent: Tensor) -> Tensor:
        """Return the simulator actions of actions before squashing, ``[B, A]`` both."""
        if self.bounded:
            return self.action_offset + self.action_scale * torch.tanh(latent)
        return latent

    @torch.jit.export
    def reset(self) -> None:
        """Do nothing; deployment stacks call it at every episode start."""

    @property
    def input_size(self) -> int:
        """Size ``O`` of the observation, under the name that RSL-RL's own models have for it."""
        return self.num_obs

    @property
    def in_features(self) -> int:
        """Size ``O`` of the observation, under the name that Isaac Lab 2.3's exporter reads."""
        return self.num_obs

    def get_dummy_inputs(self, batch_size: int = 1) -> tuple[Tensor, ...]:
        """Return example inputs: observations ``[B, O]``."""
        return (torch.zeros(batch_size, self.num_obs),)


class ChainInferencePolicy(InferencePolicy):
    """A chain ``x <- contraction_k x + gain_k u(x, s, k)`` from a fixed start.

    All that does not depend on the observation (step sizes, step features) is a constant, so that the exported graph
    holds the score network's layers and little else.

    Args:
        encoder: Normaliser of the observation.
        network: The network ``u``.
        time_features: Its features of the ``N`` steps, ``[N, H]``.
        contraction: ``[N, A]``.
        gain: ``[N, A]``.
        start: ``x_0``, ``[1, A]``.
        start_std: Standard deviation that a random start has.
        squash: Bounds of the actions; None where ``x_N`` is the action.
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
        self,
        encoder: ObservationEncoder,
        network: ScoreNetwork,
        time_features: Tensor,
        contraction: Tensor,
        gain: Tensor,
        start: Tensor,
        start_std: float,
        squash: Squash | None = None,
    ) -> None:
        super().__init__(encoder, gain.device, squash)
        self.start_std = start_std
        with torch.inference_mode(False), torch.no_grad():
            latent_weight, obs_weight, _ = network.input_weights()
            self._keep(
                latent_weight=latent_weight,
                obs_weight=obs_weight,
                obs_bias=network.input_layer.bias,
                time_features=time_features,
                contraction=contraction,
                gain=gain,
                start=start,
            )
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
    """A chain that starts where its caller wants: ``obs [B, O]``, ``latent [B, A] -> actions [B, A]``.

    Args:
        policy: The chain; shared.
    """

    input_names = ["obs", "latent"]  # noqa: RUF012  as in InferencePolicy
    output_names = ["actions"]  # noqa: RUF012

    def __init__(self, policy: ChainInferencePolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, obs: Tensor, latent: Tensor) -> Tensor:
        """Return simulator actions ``[B, A]``.

        Args:
            obs: Raw observations ``[B, O]``.
            latent: Where the chain starts in standard deviations of its start, ``[B, A]``: a standard normal draw is a
                start as in training.
        """
        policy = self.policy
        return policy.to_simulator(policy.follow(policy.normalized(obs), policy.start_std * latent))

    def get_dummy_inputs(self, batch_size: int = 1) -> tuple[Tensor, ...]:
        """Return example inputs: observations ``[B, O]`` and initial latents ``[B, A]``."""
        return (torch.zeros(batch_size, self.policy.num_obs), torch.zeros(batch_size, self.policy.start.shape[1]))


class MeanInferencePolicy(InferencePolicy):
    """A Gaussian policy's mean.

    Args:
        encoder: Normaliser of the observation.
        network: Normalised observations ``[B, O]`` to the mean ``[B, A]``.
        squash: Bounds of the actions; None where the mean is the action.
    """

    def __init__(self, encoder: ObservationEncoder, network: nn.Module, squash: Squash | None = None) -> None:
        super().__init__(encoder, next(network.parameters()).device, squash)
        self.network = _detached_copy(network)
        self.eval()

    def latent(self, normalized: Tensor) -> Tensor:
        """Return the mean ``[B, A]`` for normalised observations ``[B, O]``."""
        return self.network(normalized)


class FirstColumns(nn.Module):
    """Leaves the first ``count`` columns of ``[B, n]``."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, count]``."""
        return x[:, : self.count]


def _detached_copy(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).requires_grad_(False)


class DeployablePolicy(nn.Module, ABC):
    """A policy that acts deterministically, from a network without memory."""

    is_recurrent = False
    actor_obs: ObservationEncoder
    """The observation groups that it sees, and their normaliser."""

    @abstractmethod
    def deterministic_actions(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return the simulator actions ``[B, A]`` of the deterministic policy.

        Args:
            actor_obs: Normalised observations ``[B, O]``.
            options: How a chain runs; policies without one have the defaults only.
            start: Initial latents ``[B, A]`` of a chain; None is the fixed one of the options.

        Raises:
            ValueError: If the policy cannot act so.
        """

    @abstractmethod
    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> InferencePolicy:
        """Freeze the current policy; later training does not reach the copy.

        Args:
            options: As in :meth:`deterministic_actions`.

        Raises:
            ValueError: If the policy cannot act so.
        """

    @abstractmethod
    def describe(self, options: ChainOptions = WHOLE_CHAIN) -> dict[str, Any]:
        """Return metadata of what :meth:`deployable` returns for these options."""

    # -- RSL-RL's model interface ---------------------------------------------------------------------------------

    def reset(self, dones: Tensor | None = None, hidden_state: object = None) -> None:
        """Do nothing: the policy has no memory."""

    def get_hidden_state(self) -> None:
        """Return None: the policy has no memory."""

    def as_jit(self) -> InferencePolicy:
        """Return the deployable policy, ``obs [1, O] -> actions [1, A]``, ready for ``torch.jit.script``."""
        return self.deployable()

    def as_onnx(self, verbose: bool = False) -> InferencePolicy:
        """Return the deployable policy, with the input and output names that RSL-RL's ONNX exporter reads."""
        return self.deployable()
