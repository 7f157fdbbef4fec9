# SPDX-License-Identifier: BSD-3-Clause
"""DPPO's actor: a denoising chain whose steps have Gaussian densities (arXiv 2409.00588)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.diffusion.chain import gaussian_kl, step_entropies, step_log_ratios
from trudi_rsl.diffusion.schedule import step_sizes
from trudi_rsl.policies.deployable import WHOLE_CHAIN, ChainInferencePolicy, ChainOptions
from trudi_rsl.policies.diffusion import DiffusionPolicy, frozen_chain, solve_chain
from trudi_rsl.policies.generative import (
    GenerativeModel,
    activation_class,
    require_at_least_one,
    require_positive,
)


class DenoisingModel(GenerativeModel):
    """TruDi's chain without its squashing: the action is ``x_N``.

    Seen as a decision process of its own, in which every denoising step is a decision, each has the density
    ``N(x_{k+1}; mu_k, 2 e_k)``; ratios and entropy are per step, the KL is of whole chains.

    Args:
        obs: Example observations, to size the groups.
        obs_groups: Names of observation sets to names of groups.
        obs_set: The set that the model sees.
        output_dim: Action dimension ``A``.
        hidden_dims: Width of the score network's first layer and of every hidden block.
        activation: RSL-RL's name of the activations.
        obs_normalization: Normalise observations with running statistics.
        num_denoise_steps: Denoising steps ``N``, at least 1.
        prior_std: Standard deviation ``s0`` of ``x_0``, and about that of the first policy's actions; above 0.
        init_friction: Initial friction, above 0; it is learned, and with it the noise of the steps.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        hidden_dims: Sequence[int] = (256, 256, 256, 256, 256),
        activation: str = "mish",
        obs_normalization: bool = False,
        num_denoise_steps: int = 8,
        prior_std: float = 1.0,
        init_friction: float = 1.0,
    ) -> None:
        super().__init__(obs, obs_groups, obs_set, output_dim, obs_normalization)
        require_at_least_one("num_denoise_steps", num_denoise_steps)
        require_positive("prior_std", prior_std)
        require_positive("init_friction", init_friction)
        self.actor = DiffusionPolicy(
            self.actor_obs.num_obs,
            output_dim,
            num_denoise_steps,
            prior_std,
            init_friction,
            hidden_dims,
            activation=activation_class(activation),
        )

    @property
    def num_steps(self) -> int:
        """Number ``N`` of denoising steps."""
        return self.actor.num_steps

    def sample(self, actor_obs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the ends of fresh chains ``[B, A]``, and what the ratio needs to know of the chains.

        Returns:
            Actions, and latents ``[B, N+1, A]``, means ``[B, N, A]`` and the policy's friction in all rows ``[B, A]``.
        """
        chain = self.actor.sample(actor_obs, self.actor.draw_noise(len(actor_obs)))
        return chain.latents[-1], self._params_of(chain.latents, chain.means)

    def log_ratios(self, obs: TensorDict, actions: Tensor, old_params: Sequence[Tensor]) -> Tensor:
        """Return ``log pi(x_{k+1} | x_k) - log pi_old(x_{k+1} | x_k)`` along old chains, ``[B, N]``."""
        latents, old_means, old_steps = self._chains(old_params)
        means = self.actor.means(self.actor_obs(obs), latents[:-1])
        self._params = self._params_of(latents, means)
        return -step_log_ratios(latents[1:], old_means, old_steps, means, self.actor.step_sizes()).transpose(0, 1)

    def _params_of(self, latents: Tensor, means: Tensor) -> tuple[Tensor, ...]:
        friction = self.actor.friction().detach().expand(latents.shape[1], -1)
        return latents.detach().transpose(0, 1), means.detach().transpose(0, 1), friction

    def _chains(self, params: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents ``[N+1, B, A]``, means ``[N, B, A]`` and step sizes ``[N, A]``."""
        latents, means, friction = params
        # all rows are of one policy
        return latents.transpose(0, 1), means.transpose(0, 1), step_sizes(self.actor.weights, friction[0])

    @property
    def output_entropy(self) -> Tensor:
        """Entropy of a denoising step in nats, the mean over the steps, ``[B]``."""
        return step_entropies(self.actor.step_sizes()).mean().expand(len(self._params[0]))

    def get_kl_divergence(self, old_params: Sequence[Tensor], new_params: Sequence[Tensor]) -> Tensor:
        """Return the path KL, ``KL(old || new)`` summed over the steps of each old chain, ``[B]`` nats."""
        _, old_means, old_steps = self._chains(old_params)
        _, means, steps = self._chains(new_params)
        return gaussian_kl(old_means, old_steps, means, steps)

    # -- acting deterministically ---------------------------------------------------------------------------------

    def random_start(self, actor_obs: Tensor) -> Tensor:
        """Return draws of ``x_0``, ``[B, A]``."""
        return self.actor.draw_start(len(actor_obs))

    def follow(self, actor_obs: Tensor, options: ChainOptions, start: Tensor | None) -> Tensor:
        """Return the ends of chains without noise, ``x_{k+1} = mu_k``, ``[B, A]``."""
        return solve_chain(self.actor, actor_obs, options, start)

    def frozen(self, options: ChainOptions) -> ChainInferencePolicy:
        """Return the current policy's chain without noise."""
        return frozen_chain(self.actor_obs, self.actor, options, squash=None)

    def describe(self, options: ChainOptions = WHOLE_CHAIN) -> dict[str, Any]:
        """Return metadata of the chain."""
        return options.describe(self.num_steps)
