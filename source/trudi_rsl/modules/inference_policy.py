# SPDX-License-Identifier: BSD-3-Clause
"""The deployable policy: normaliser, network and action scaling in one module without options."""

# No `from __future__ import annotations` here: TorchScript reads the class annotations and cannot resolve text.
import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trudi_rsl.rsl_rl_compat.moved import EmpiricalNormalization

if TYPE_CHECKING:
    from trudi_rsl.modules.actor_critic import ActorCritic
    from trudi_rsl.modules.diffusion_actor_critic import DiffusionActorCritic
    from trudi_rsl.modules.gaussian_actor_critic import GaussianActorCritic


class InferencePolicy(nn.Module, ABC):
    """``obs [B, O] -> actions [B, A]``, deterministic.

    The observation's statistics are constants. Works under ``torch.jit.script`` and both ONNX exporters.

    Args:
        actor_critic: The policy to freeze; later training does not reach the copy.
    """

    input_names = ["obs"]  # noqa: RUF012  RSL-RL's ONNX exporter passes the list on unchanged
    output_names = ["actions"]  # noqa: RUF012

    obs_mean: Tensor
    obs_inverse_std: Tensor
    action_scale: Tensor
    action_offset: Tensor

    def __init__(self, actor_critic: "ActorCritic[Any]") -> None:
        super().__init__()
        normalizer = actor_critic.actor_obs.normalizer
        self.num_obs: int = actor_critic.actor.num_obs
        with torch.inference_mode(False), torch.no_grad():
            scale = actor_critic.action_scale
            mean, inverse_std = scale.new_zeros(self.num_obs), scale.new_ones(self.num_obs)
            if isinstance(normalizer, EmpiricalNormalization):
                mean = normalizer.mean
                inverse_std = 1.0 / (normalizer.std + normalizer.eps)
            self._keep(
                obs_mean=mean,
                obs_inverse_std=inverse_std,
                action_scale=scale,
                action_offset=actor_critic.action_offset,
            )

    def _keep(self, **constants: Tensor) -> None:
        """Register copies of constants."""
        for name, value in constants.items():
            self.register_buffer(name, value.detach().clone())

    @abstractmethod
    def latent(self, normalized: Tensor) -> Tensor:
        """Return pre-squash actions ``[B, A]`` for normalised observations ``[B, O]``."""

    def forward(self, obs: Tensor) -> Tensor:
        """Return simulator actions ``[B, A]`` for raw observations ``[B, O]``."""
        normalized = (obs - self.obs_mean) * self.obs_inverse_std
        return self.action_offset + self.action_scale * torch.tanh(self.latent(normalized))

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

    def get_dummy_inputs(self) -> tuple[Tensor]:
        """Return an example input, ``[1, O]``."""
        return (torch.zeros(1, self.num_obs),)


class DiffusionInferencePolicy(InferencePolicy):
    """A diffusion policy's ODE from a fixed start.

    All that does not depend on the observation (step sizes, step features) is folded into constants, so that the
    exported graph holds the score network's layers and little else.

    Args:
        actor_critic: The policy to freeze.
        score_scale: Score scale ``c`` of the ODE, above 0.
        seed: Seed of the fixed initial latent; None starts at zeros.

    Raises:
        ValueError: If ``score_scale`` is not above 0.
    """

    latent_weight: Tensor
    obs_weight: Tensor
    obs_bias: Tensor
    time_features: Tensor
    contraction: Tensor
    control_gain: Tensor
    start: Tensor

    def __init__(self, actor_critic: "DiffusionActorCritic", score_scale: float = 1.0, seed: int | None = None) -> None:
        super().__init__(actor_critic)
        if not score_scale > 0.0:
            raise ValueError(f"score_scale must be above 0, got {score_scale}.")
        actor = actor_critic.actor
        net = actor.score_network
        with torch.inference_mode(False), torch.no_grad():
            steps = actor.step_sizes()
            start = steps.new_zeros(1, actor.num_actions)
            if seed is not None:
                generator = torch.Generator().manual_seed(seed)
                start = actor.prior_std * torch.randn(start.shape, generator=generator).to(start)
            latent_weight, obs_weight, _ = net.input_weights()
            self._keep(
                latent_weight=latent_weight,
                obs_weight=obs_weight,
                obs_bias=net.input_layer.bias,
                time_features=net.time_features(actor.num_steps),
                # x + e ((2c-1) p(x) + c u) = (1 - (2c-1) e / s0^2) x + c e u
                contraction=1.0 - (2.0 * score_scale - 1.0) * steps / actor.prior_std**2,
                control_gain=score_scale * steps,
                start=start,
            )
        self.num_steps = actor.num_steps
        self.encoder = _detached_copy(net.encoder)
        self.trunk = _detached_copy(net.trunk)
        self.output_layer = _detached_copy(net.output_layer)
        self.eval()

    def latent(self, normalized: Tensor) -> Tensor:
        """Return pre-squash actions ``[B, A]`` for normalised observations ``[B, O]``."""
        obs_features = F.linear(self.encoder(normalized), self.obs_weight, self.obs_bias)
        x = self.start.expand(normalized.shape[0], -1)
        for k in range(self.num_steps):
            hidden = F.linear(x, self.latent_weight) + obs_features + self.time_features[k]
            x = self.contraction[k] * x + self.control_gain[k] * self.output_layer(self.trunk(hidden))
        return x


class GaussianInferencePolicy(InferencePolicy):
    """A Gaussian policy's mean.

    Args:
        actor_critic: The policy to freeze.
    """

    def __init__(self, actor_critic: "GaussianActorCritic") -> None:
        super().__init__(actor_critic)
        self.num_actions = actor_critic.num_actions
        self.network = _detached_copy(actor_critic.actor.network)
        self.eval()

    def latent(self, normalized: Tensor) -> Tensor:
        """Return pre-squash actions ``[B, A]`` for normalised observations ``[B, O]``."""
        return self.network(normalized)[:, : self.num_actions]


def _detached_copy(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).requires_grad_(False)
