# SPDX-License-Identifier: BSD-3-Clause
"""Diffusion policies with a linear control, for which every distribution is Gaussian and known exactly.

With ``u_k(x) = M_k x + b_k`` the denoising kernel has the mean ``F_k x + e_k b_k``, ``F_k = I + e_k (M_k - I/s0^2)``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from trudi_rsl.policies.diffusion import DiffusionPolicy


class LinearScore(nn.Module):
    """``u_k(x, s) = M_k x + b_k + C s`` behind the interface of ``ScoreNetwork``."""

    def __init__(self, gains: Tensor, offsets: Tensor, obs_map: Tensor) -> None:
        super().__init__()
        self.gains = nn.Parameter(gains)  # [N, A, A]
        self.offsets = nn.Parameter(offsets)  # [N, A]
        self.obs_map = nn.Parameter(obs_map)  # [A, O]

    def obs_features(self, obs: Tensor) -> Tensor:
        shift = obs @ self.obs_map.T
        return torch.cat([shift.new_zeros(*shift.shape[:-1], self.gains[0].numel()), shift], dim=-1)

    def time_features(self, num_steps: int) -> Tensor:
        return torch.cat([self.gains.flatten(1), self.offsets], dim=-1)[:num_steps]

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        size = self.gains.shape[-1]
        gains, offsets = condition.split([size * size, size], dim=-1)
        return (gains.unflatten(-1, (size, size)) @ x[..., None])[..., 0] + offsets


def with_linear_score(policy: DiffusionPolicy, gains: Tensor, offsets: Tensor) -> DiffusionPolicy:
    """Replace the network of ``policy`` by ``u_k = M_k x + b_k``, whatever the observation."""
    policy.score_network = LinearScore(gains, offsets, torch.zeros(policy.num_actions, policy.num_obs))  # type: ignore[assignment]
    return policy


def random_linear_policy(num_steps: int = 8, num_actions: int = 2) -> DiffusionPolicy:
    """Return a policy with random linear control and frictions between 0.4 and 1.6."""
    policy = DiffusionPolicy(1, num_actions, num_steps, hidden_dims=[2])
    gains, offsets = torch.randn(num_steps, num_actions, num_actions), 2.0 * torch.randn(num_steps, num_actions)
    friction = 0.4 + 1.2 * torch.rand(num_actions)
    policy.raw_friction.data.copy_(friction.expm1().log())
    return with_linear_score(policy, gains, offsets).requires_grad_(False)


def kernels(policy: DiffusionPolicy) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return ``(F_k, f_k, e_k)`` of ``x_{k+1} = F_k x_k + f_k + sqrt(2 e_k) noise``."""
    net = policy.score_network
    assert isinstance(net, LinearScore)
    eye = torch.eye(policy.num_actions)
    return [
        (eye + e[:, None] * (gain - eye / policy.prior_std**2), e * offset, e)
        for gain, offset, e in zip(net.gains, net.offsets, policy.step_sizes(), strict=True)
    ]


def marginals(policy: DiffusionPolicy) -> list[MultivariateNormal]:
    """Return the exact distributions of ``x_0 .. x_N``."""
    mean, cov = torch.zeros(policy.num_actions), policy.prior_std**2 * torch.eye(policy.num_actions)
    moments = [(mean, cov)]
    for matrix, shift, e in kernels(policy):
        mean, cov = matrix @ mean + shift, matrix @ cov @ matrix.T + (2.0 * e).diag()
        moments.append((mean, cov))
    return [MultivariateNormal(m, c) for m, c in moments]


def expected_squares(p: MultivariateNormal, matrix: Tensor, shift: Tensor) -> Tensor:
    """Return ``E[(matrix x + shift)^2]`` per dimension for ``x ~ p``."""
    return (matrix @ p.mean + shift).square() + (matrix @ p.covariance_matrix @ matrix.T).diagonal()


def expected_log_prob_bound(policy: DiffusionPolicy) -> Tensor:
    """Return the exact ``E[log N(x_0) + sum_k log N(x_{k+1}; mu_k) - log N(x_k; nu_k)]``."""
    eye = torch.eye(policy.num_actions)
    total = -MultivariateNormal(torch.zeros(policy.num_actions), policy.prior_std**2 * eye).entropy()
    for p, (matrix, shift, e) in zip(marginals(policy)[:-1], kernels(policy), strict=True):
        # x_k - nu_k = (I - d F_k) x_k - d f_k - d sqrt(2 e_k) noise, with d = 1 - e_k / s0^2
        d = 1.0 - e / policy.prior_std**2
        residual = expected_squares(p, eye - d[:, None] * matrix, -d * shift) + 2.0 * e * d.square()
        total = total + 0.5 * (residual / (2.0 * e) - 1.0).sum()
    return total


def expected_path_kl(old: DiffusionPolicy, new: DiffusionPolicy) -> Tensor:
    """Return the exact expectation over old chains of the summed Gaussian KL between the kernels."""
    total = torch.zeros(())
    for p, (f_old, b_old, e_old), (f_new, b_new, e_new) in zip(
        marginals(old)[:-1], kernels(old), kernels(new), strict=True
    ):
        distance = expected_squares(p, f_old - f_new, b_old - b_new)
        ratio = e_old / e_new
        total = total + 0.5 * (ratio - 1.0 - ratio.log() + distance / (2.0 * e_new)).sum()
    return total


def assert_mean_is(samples: Tensor, expected: Tensor) -> None:
    """Assert that the mean of independent samples ``[n]`` is within five standard errors of ``expected``."""
    error = (samples.mean() - expected).abs()
    bound = 5.0 * samples.std() / samples.numel() ** 0.5
    assert error <= bound, f"mean {samples.mean():.5f}, expected {expected:.5f}, five standard errors are {bound:.5f}"
