# SPDX-License-Identifier: BSD-3-Clause
"""The deployable policy: normaliser, unrolled ODE and action scaling in one module without options."""

# No `from __future__ import annotations` here: TorchScript reads the class annotations and cannot resolve text.
import copy
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trudi_rsl.rsl_rl_compat.moved import EmpiricalNormalization

if TYPE_CHECKING:
    from trudi_rsl.modules.diffusion_actor_critic import DiffusionActorCritic


class InferencePolicy(nn.Module):
    """``obs [B, O] -> actions [B, A]``, deterministic: the ODE from a fixed start.

    All that does not depend on the observation (step sizes, step features, observation statistics) is folded into
    constants, so that the exported graph holds the score network's layers and little else. Built by
    :meth:`from_actor_critic`; works under ``torch.jit.script`` and both ONNX exporters.
    """

    obs_mean: Tensor
    obs_inverse_std: Tensor
    latent_weight: Tensor
    obs_weight: Tensor
    obs_bias: Tensor
    time_features: Tensor
    contraction: Tensor
    control_gain: Tensor
    start: Tensor
    action_scale: Tensor
    action_offset: Tensor

    def __init__(self, actor_critic: "DiffusionActorCritic", score_scale: float = 1.0, seed: int | None = None) -> None:
        super().__init__()
        if not score_scale > 0.0:
            raise ValueError(f"score_scale must be above 0, got {score_scale}.")
        actor = actor_critic.actor
        net = actor.score_network
        device, dtype = actor.raw_friction.device, actor.raw_friction.dtype
        with torch.inference_mode(False), torch.no_grad():
            steps = actor.step_sizes()
            start = torch.zeros(1, actor.num_actions, device=device, dtype=dtype)
            if seed is not None:
                generator = torch.Generator().manual_seed(seed)
                start = actor.prior_std * torch.randn(start.shape, generator=generator).to(start)
            normalizer = actor_critic.actor_obs.normalizer
            mean = torch.zeros(actor.num_obs, device=device, dtype=dtype)
            inverse_std = torch.ones(actor.num_obs, device=device, dtype=dtype)
            if isinstance(normalizer, EmpiricalNormalization):
                mean = normalizer.mean
                inverse_std = 1.0 / (normalizer.std + normalizer.eps)
            latent_weight, obs_weight, _ = net.input_weights()
            constants = {
                "obs_mean": mean,
                "obs_inverse_std": inverse_std,
                "latent_weight": latent_weight,
                "obs_weight": obs_weight,
                "obs_bias": net.input_layer.bias,
                "time_features": net.time_features(actor.num_steps),
                # x + e ((2c-1) p(x) + c u) = (1 - (2c-1) e / s0^2) x + c e u
                "contraction": 1.0 - (2.0 * score_scale - 1.0) * steps / actor.prior_std**2,
                "control_gain": score_scale * steps,
                "start": start,
                "action_scale": actor_critic.action_scale,
                "action_offset": actor_critic.action_offset,
            }
            for name, value in constants.items():
                self.register_buffer(name, value.detach().clone())
        self.num_steps = actor.num_steps
        self.num_obs = actor.num_obs
        self.encoder = _detached_copy(net.encoder)
        self.trunk = _detached_copy(net.trunk)
        self.output_layer = _detached_copy(net.output_layer)
        self.eval()

    @classmethod
    def from_actor_critic(
        cls, actor_critic: "DiffusionActorCritic", score_scale: float = 1.0, seed: int | None = None
    ) -> Self:
        """Freeze the current policy.

        Args:
            actor_critic: The policy to freeze; later training does not reach the copy.
            score_scale: Score scale ``c`` of the ODE, above 0.
            seed: Seed of the fixed initial latent; None starts at zeros.

        Raises:
            ValueError: If ``score_scale`` is not above 0.
        """
        return cls(actor_critic, score_scale, seed)

    def forward(self, obs: Tensor) -> Tensor:
        """Return simulator actions ``[B, A]`` for raw observations ``[B, O]``."""
        normalized = (obs - self.obs_mean) * self.obs_inverse_std
        obs_features = F.linear(self.encoder(normalized), self.obs_weight, self.obs_bias)
        x = self.start.expand(obs.shape[0], -1)
        for k in range(self.num_steps):
            hidden = F.linear(x, self.latent_weight) + obs_features + self.time_features[k]
            x = self.contraction[k] * x + self.control_gain[k] * self.output_layer(self.trunk(hidden))
        return self.action_offset + self.action_scale * torch.tanh(x)

    @torch.jit.export
    def reset(self) -> None:
        """Do nothing; deployment stacks call it at every episode start."""


class OnnxInferencePolicy(InferencePolicy):
    """The deployable policy with what RSL-RL's ONNX exporter asks of a model."""

    input_names = ["obs"]  # noqa: RUF012  the exporter passes the list on unchanged
    output_names = ["actions"]  # noqa: RUF012

    @property
    def input_size(self) -> int:
        """Size ``O`` of the observation, under the name that RSL-RL's own models have for it."""
        return self.num_obs

    def get_dummy_inputs(self) -> tuple[Tensor]:
        """Return an example input, ``[1, O]``."""
        return (torch.zeros(1, self.num_obs),)


def _detached_copy(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).requires_grad_(False)
