# SPDX-License-Identifier: BSD-3-Clause
"""DPPO's actor: a denoising chain whose steps have Gaussian densities (arXiv 2409.00588)."""

from __future__ import annotations

from collections.abc import Sequence

from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.diffusion.chain import gaussian_kl, step_entropies, step_log_ratios
from trudi_rsl.diffusion.schedule import step_sizes
from trudi_rsl.diffusion.signed_permutation import SignedPermutations
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.policies.generative import GenerativeModel, activation_class, require_at_least_one, require_positive


class DenoisingModel(GenerativeModel[DiffusionPolicy]):
    """TruDi's chain without its squashing: the action is ``x_N``.

    As a decision process in which every denoising step is a decision, each step has the density
    ``N(x_{k+1}; mu_k, 2 e_k)``; ratios and entropy are per step, the KL is of whole chains.

    The first seven arguments are those of ``rsl_rl.models.MLPModel``; a ConfigError names a setting out of range.

    Args:
        num_denoise_steps: Denoising steps ``N``, at least 1.
        prior_std: Standard deviation ``s0`` of ``x_0``, roughly that of the first policy's actions; above 0.
        init_friction: Initial friction, above 0; it is learned, and with it the noise of the steps.
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
        super().__init__(obs, obs_groups[obs_set], output_dim, obs_normalization)
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

    def sample(self, actor_obs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the ends of fresh chains ``[B, A]``, and what the ratio needs to know about the chains.

        These are latents ``[B, N+1, A]``, means ``[B, N, A]`` and the policy's friction in every row ``[B, A]``.
        """
        chain = self.actor.sample(actor_obs, self.actor.draw_noise(len(actor_obs)))
        return chain.latents[-1], self._pack(chain.latents, chain.means)

    def log_ratios(self, obs: TensorDict, actions: Tensor, old_params: Sequence[Tensor]) -> Tensor:
        """Return ``log pi(x_{k+1} | x_k) - log pi_old(x_{k+1} | x_k)`` along old chains, ``[B, N]``."""
        latents, old_means, old_steps = self._unpack(old_params)
        means = self.actor.means(self.actor_obs(obs), latents[:-1])
        self.output_distribution_params = self._pack(latents, means)
        return -step_log_ratios(latents[1:], old_means, old_steps, means, self.actor.step_sizes()).transpose(0, 1)

    def mirror(self, params: Sequence[Tensor], mirrors: SignedPermutations) -> tuple[Tensor, ...]:
        """Return the images of chains, means and friction; see :class:`GenerativeModel`."""
        *paths, friction = params
        images = (mirrors.mirror(path.transpose(0, 1)).transpose(0, 1) for path in paths)
        return *images, mirrors.permute(friction)

    def _pack(self, latents: Tensor, means: Tensor) -> tuple[Tensor, ...]:
        """Return chains as parameters for RSL-RL's storage, batch first and detached."""
        friction = self.actor.friction().detach().expand(latents.shape[1], -1)
        return latents.detach().transpose(0, 1), means.detach().transpose(0, 1), friction

    def _unpack(self, params: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents ``[N+1, B, A]``, means ``[N, B, A]`` and step sizes ``[N, A]`` of stored parameters."""
        latents, means, friction = params
        # all rows come from one policy
        return latents.transpose(0, 1), means.transpose(0, 1), step_sizes(self.actor.weights, friction[0])

    @property
    def output_entropy(self) -> Tensor:
        """Entropy of a denoising step in nats, averaged over the steps, ``[B]``."""
        return step_entropies(self.actor.step_sizes()).mean().expand(len(self.output_distribution_params[0]))

    def get_kl_divergence(self, old_params: Sequence[Tensor], new_params: Sequence[Tensor]) -> Tensor:
        """Return the path KL, ``KL(old || new)`` summed over the steps of each old chain, ``[B]`` nats."""
        _, old_means, old_steps = self._unpack(old_params)
        _, means, steps = self._unpack(new_params)
        return gaussian_kl(old_means, old_steps, means, steps)
