# SPDX-License-Identifier: BSD-3-Clause
"""Adjoint matching: regress the control on adjoint states instead of differentiating through the chain.

After Domingo-Enrich et al. 2024 (arXiv 2409.08861), for the target density ``exp(Q / alpha) |da/dx|`` of pre-squash
actions. The base drift ``p(x) = -x / s0^2`` is linear, so the adjoint of the uncontrolled chain has a closed form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trudi_rsl.diffusion.chain import log_det_squash, prior_score


def terminal_cost(x: Tensor, values: Tensor, alpha: Tensor, prior_std: float) -> Tensor:
    """Return ``G(x) = -Q - alpha log|da/dx| + alpha log N(x; 0, s0^2)`` up to a constant, ``[B]``.

    ``x`` are pre-squash actions ``[B, A]``, ``values`` the ``Q`` of ``tanh(x)`` ``[B]``; ``alpha`` is a scalar.
    """
    log_prior = -0.5 * (x / prior_std).square().sum(-1)
    return -values + alpha * (log_prior - log_det_squash(x))


def adjoints(end: Tensor, steps: Tensor, prior_std: float) -> Tensor:
    """Return ``A_1 .. A_N`` of ``A_k = (1 - e_k / s0^2) A_{k+1}``, ``[N, B, A]``.

    ``end`` is ``A_N = dG / dx_N`` ``[B, A]``, ``steps`` are the step sizes ``e_k`` ``[N, A]``.
    """
    decay = 1.0 - steps / prior_std**2
    # A_{k+1} = A_N prod_{j > k} (1 - e_j / s0^2)
    after = torch.cat([decay[1:], torch.ones_like(decay[:1])]).flip(0).cumprod(0).flip(0)
    return after[:, None] * end


def matching_loss(
    control: Tensor, adjoint: Tensor, latents: Tensor, noise: Tensor, steps: Tensor, alpha: Tensor, prior_std: float
) -> Tensor:
    """Return a loss per chain ``[B]`` whose gradient moves control and friction towards the target density.

    Its value is not the policy's loss. It is the sum over steps of

    - ``e_k (alpha u_k^2 / 4 + u_k A_{k+1})`` with ``e_k`` detached, minimal at ``u_k = -2 A_{k+1} / alpha``,
    - ``e_k (alpha u_k^2 / 4 + A_{k+1} dx_{k+1}/de_k)`` with all but the leading ``e_k`` detached, for the friction.

    Args:
        control: Network output ``u_k`` at the latents, ``[M, B, A]``; any ``M`` steps of the chain.
        adjoint: ``A_{k+1}``, detached, ``[M, B, A]``.
        latents: ``x_k`` of chains sampled with these controls, detached, ``[M, B, A]``.
        noise: Standard normal noise of the steps from ``x_k`` to ``x_{k+1}``, ``[M, B, A]``.
        steps: Step sizes ``e_k`` of these steps, ``[M, A]``.
        alpha: Temperature, scalar.
        prior_std: Prior standard deviation ``s0``.
    """
    step, constant_step = steps[:, None], steps[:, None].detach()
    for_control = constant_step * (0.25 * alpha * control.square() + control * adjoint)
    u = control.detach()
    # dx_{k+1} / de_k = p(x_k) + u_k + noise / sqrt(2 e_k)
    by_step = prior_score(latents, prior_std) + u + noise / (2.0 * constant_step).sqrt()
    for_friction = step * (0.25 * alpha * u.square() + adjoint * by_step)
    return (for_control + for_friction).sum((0, 2))
