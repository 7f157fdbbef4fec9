# SPDX-License-Identifier: BSD-3-Clause
"""Flow matching: a velocity field that carries noise at time 0 to actions at time 1 (Lipman et al., arXiv 2210.02747).

The path between noise ``e`` and action ``a`` is straight, ``x_t = (1 - t) e + t a``, so its velocity is ``a - e``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trudi_rsl.diffusion.schedule import first_steps
from trudi_rsl.diffusion.score_network import ScoreNetwork


def interpolate(actions: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Return ``x_t = (1 - t) e + t a``.

    Args:
        actions: ``a``, broadcastable to ``[..., A]``.
        noise: ``e``, ``[..., A]``.
        times: ``t`` in [0, 1], ``[...]``.
    """
    t = times[..., None]
    return (1.0 - t) * noise + t * actions


def matching_losses(velocity: Tensor, actions: Tensor, noise: Tensor) -> Tensor:
    """Return the conditional flow matching losses ``|v - (a - e)|^2``, ``[...]``.

    Args:
        velocity: ``v`` at the interpolated points, ``[..., A]``.
        actions: ``a``, broadcastable to ``[..., A]``.
        noise: ``e``, ``[..., A]``.
    """
    return (velocity - (actions - noise)).square().sum(-1)


def euler(
    velocity: Callable[[Tensor, int], Tensor], start: Tensor, num_steps: int, num_groups: int | None = None
) -> Tensor:
    """Return ``x(1)`` by Euler's method, ``x_{k+1} = x_k + v(x_k, k/N) / N``.

    Args:
        velocity: Given ``x`` and the number ``k`` of the step, returns ``v(x, k/N)``.
        start: ``x(0)``.
        num_steps: ``N``.
        num_groups: Groups of consecutive steps, each taken in one with the velocity at its first; None takes all
            steps singly.
    """
    x, firsts = start, first_steps(num_steps, num_groups or num_steps)
    for k, end in zip(firsts, [*firsts[1:], num_steps], strict=True):
        x = x + (end - k) * velocity(x, k) / num_steps
    return x


class FlowPolicy(nn.Module):
    """Distribution over actions to which a state-conditioned velocity field carries Gaussian noise.

    Args:
        num_obs: Dimension ``O`` of the (normalised) observation.
        num_actions: Action dimension ``A``.
        num_steps: Euler steps ``N``, at least 1.
        prior_std: Standard deviation of the noise.
        hidden_dims: Widths of the velocity network.
        activation: Class of its activations.
    """

    def __init__(
        self,
        num_obs: int,
        num_actions: int,
        num_steps: int = 10,
        prior_std: float = 1.0,
        hidden_dims: Sequence[int] = (32, 32, 32),
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.num_obs = num_obs
        self.num_actions = num_actions
        self.num_steps = num_steps
        self.prior_std = prior_std
        # it starts as zero: the first actions are the noise
        self.velocity_network = ScoreNetwork(num_obs, num_actions, hidden_dims, activation=activation)

    def draw_noise(self, *shape: int) -> Tensor:
        """Return fresh noise of the prior, ``[*shape, A]``."""
        param = next(self.parameters())
        return self.prior_std * torch.randn(*shape, self.num_actions, device=param.device, dtype=param.dtype)

    def time_features(self) -> Tensor:
        """Return the velocity network's features of the Euler steps' times ``k/N``, ``[N, H]``."""
        param = next(self.parameters())
        times = torch.arange(self.num_steps, device=param.device, dtype=param.dtype) / self.num_steps
        return self.velocity_network.features_at(times)

    def integrate(self, obs: Tensor, start: Tensor, num_steps: int | None = None) -> Tensor:
        """Return the actions ``[B, A]`` that ``start`` is carried to.

        Args:
            obs: Normalised observations ``[B, O]``.
            start: Noise ``[B, A]``, or zeros.
            num_steps: Steps to take, merged out of the ``N``; None takes all.
        """
        net = self.velocity_network
        obs_features, time_features = net.obs_features(obs), self.time_features()
        return euler(lambda x, k: net(x, obs_features + time_features[k]), start, self.num_steps, num_steps)

    def matching_losses(self, obs: Tensor, actions: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Return the conditional flow matching losses of ``S`` draws for each action, ``[B, S]``.

        Args:
            obs: Normalised observations ``[B, O]``.
            actions: ``[B, A]``.
            times: ``[B, S]`` in [0, 1].
            noise: ``[B, S, A]``.
        """
        net, targets = self.velocity_network, actions[:, None]
        condition = net.obs_features(obs)[:, None] + net.features_at(times)
        return matching_losses(net(interpolate(targets, noise, times), condition), targets, noise)
