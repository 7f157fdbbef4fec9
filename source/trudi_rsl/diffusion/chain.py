# SPDX-License-Identifier: BSD-3-Clause
"""The denoising chain as pure functions of tensors: kernels, log-prob bound, path KL, ODE step."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


class Chain(NamedTuple):
    """A batch of sampled denoising chains."""

    latents: Tensor
    """``x_0 .. x_N``, ``[N+1, B, A]``."""
    means: Tensor
    """Means of the denoising kernels of ``x_1 .. x_N``, ``[N, B, A]``."""
    noise: Tensor
    """Standard normal samples, ``[N+1, B, A]``: row 0 for ``x_0``, row ``k+1`` for ``x_{k+1}``."""


def prior_score(x: Tensor, prior_std: float) -> Tensor:
    """Return ``p(x) = -x / s0^2``, the score of the prior N(0, s0^2)."""
    return -x / prior_std**2


def denoising_mean(x: Tensor, control: Tensor, step: Tensor, prior_std: float) -> Tensor:
    """Return the mean of the denoising kernel, ``mu_k = x + e_k (p(x) + u)``, for tensors broadcast to ``[..., A]``."""
    return x + step * (prior_score(x, prior_std) + control)


def ode_step(x: Tensor, control: Tensor, step: Tensor, prior_std: float, score_scale: float) -> Tensor:
    """Return one deterministic step ``x + e_k ((2c-1) p(x) + c u)``.

    ``c = 1`` is the SDE's mean step, ``c = 1/2`` the probability-flow ODE (paper Eq. 185).
    """
    return x + step * ((2.0 * score_scale - 1.0) * prior_score(x, prior_std) + score_scale * control)


def log_prob_bound(latents: Tensor, noise: Tensor, steps: Tensor, prior_std: float) -> Tensor:
    """Return the single-sample bound ``lp`` on the log-density of ``x_N``, ``[B]`` nats; ``E[-lp]`` <= its entropy.

    ``lp = log N(x_0; 0, s0^2) - W`` with ``W = sum_k log N(x_k; nu_k, sigma_k) - log N(x_{k+1}; mu_k, sigma_k)``
    (paper Eq. 117). Both kernels of a step share ``sigma_k``, so only the quadratic terms remain; that of the denoising
    kernel is the squared noise. Latents and noise are those of a :class:`Chain`, step sizes ``e_k`` are ``[N, A]``.
    """
    step = steps[:, None]
    # nu_k = x_{k+1} + e_k p(x_{k+1})
    noising_mean = latents[1:] + step * prior_score(latents[1:], prior_std)
    # ((x_k - nu_k) / sigma_k)^2 with sigma_k^2 = 2 e_k
    backward = (latents[:-1] - noising_mean).square() / (2.0 * step)
    work = 0.5 * (noise[1:].square() - backward).sum((0, 2))
    prior = (-0.5 * noise[0].square() - math.log(prior_std) - LOG_SQRT_2PI).sum(-1)
    return prior - work


def gaussian_kl(mean_p: Tensor, step_p: Tensor, mean_q: Tensor, step_q: Tensor) -> Tensor:
    """Return ``KL(N(mean_p, 2 step_p) || N(mean_q, 2 step_q))`` summed over steps and dimensions, ``[B]`` nats.

    Means are ``[N, B, A]``, step sizes ``[N, A]``, or ``[N, B, A]`` where they differ between rows.
    """
    step_p, step_q = _with_rows(step_p), _with_rows(step_q)
    ratio = step_p / step_q
    quadratic = (mean_p - mean_q).square() / (2.0 * step_q)
    return 0.5 * (ratio - 1.0 - ratio.log() + quadratic).sum((0, 2))


def mean_only_kl(mean_old: Tensor, step_old: Tensor, mean: Tensor) -> Tensor:
    """Return ``sum_k |mu_old - mu|^2 / (2 sigma_old^2)``: the closed form if both policies had the old variance.

    Shapes as in :func:`gaussian_kl`.
    """
    return ((mean_old - mean).square() / (4.0 * _with_rows(step_old))).sum((0, 2))


def step_log_ratios(reached: Tensor, mean_old: Tensor, step_old: Tensor, mean: Tensor, step: Tensor) -> Tensor:
    """Return ``log p_old(x_{k+1} | x_k) - log p_new(x_{k+1} | x_k)`` of each step, ``[N, B]`` nats.

    Over old chains, the expectation of the sum over steps is the path KL; single samples can be negative. ``reached``
    holds ``x_1 .. x_N``; it and the means, both at the same latents, are ``[N, B, A]``, step sizes as in
    :func:`gaussian_kl`.
    """
    step_old, step = _with_rows(step_old), _with_rows(step)
    old = (reached - mean_old).square() / (4.0 * step_old)
    new = (reached - mean).square() / (4.0 * step)
    log_std_ratio = 0.5 * (step / step_old).log()
    return (new - old + log_std_ratio).sum(-1)


def _with_rows(step: Tensor) -> Tensor:
    """Return step sizes ``[N, A]`` as ``[N, 1, A]``, and those of rows ``[N, B, A]`` as they are."""
    return step if step.ndim == 3 else step[:, None]


def step_entropies(step: Tensor) -> Tensor:
    """Return the entropies of the kernels ``N(mu_k, 2 e_k)``, summed over dimensions, ``[N, A] -> [N]`` nats."""
    # 1/2 log(2 pi e sigma^2) with sigma^2 = 2 e
    return (LOG_SQRT_2PI + 0.5 + 0.5 * (2.0 * step).log()).sum(-1)


def log_det_squash(x: Tensor, scale: Tensor | None = None) -> Tensor:
    """Return ``log|da/dx|`` of ``a = scale * tanh(x) + offset``, summed over dimensions, ``[..., A] -> [...]`` nats.

    Uses ``log(1 - tanh(x)^2) = 2 (ln 2 - x - softplus(-2x))``, which stays finite where ``tanh`` saturates. The scale
    ``[A]`` is positive, 1 by default.
    """
    log_det = (2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))).sum(-1)
    return log_det if scale is None else log_det + torch.log(scale).sum()
