# SPDX-License-Identifier: BSD-3-Clause
"""Losses of the learner as pure functions of tensors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from trudi_rsl.networks import CriticOutput


def masked_mean(values: Tensor, mask: Tensor, count: Tensor | None = None) -> Tensor:
    """Return the mean of ``values`` ``[B]`` over rows where ``mask`` ``[B]`` holds; 0 when there are none.

    ``count`` takes the place of the number of these rows. Where several processes each divide by the mean of their
    numbers, the mean of what they get is that over the rows of all.
    """
    return (values * mask).sum() / (mask.sum().clamp(min=1) if count is None else count)


def critic_losses(
    output: CriticOutput,
    target_probabilities: Tensor,
    next_features: Tensor,
    target_valid: Tensor,
    features_valid: Tensor,
    counts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the HL-Gauss cross-entropy and the feature-prediction loss, both scalar.

    Args:
        output: Critic output on the batch.
        target_probabilities: HL-Gauss codes of the targets ``[B, num_bins]``.
        next_features: Critic features of the next pair, constant, ``[B, F]``.
        target_valid: Rows whose target counts, bool ``[B]``.
        features_valid: Rows whose next features count, bool ``[B]``.
        counts: Numbers of rows ``[2]`` to divide by, for the two losses; None takes those of this batch.
    """
    num_targets, num_features = (None, None) if counts is None else counts
    cross_entropy = -(target_probabilities * F.log_softmax(output.logits, dim=-1)).sum(-1)
    prediction_error = (output.predicted_features - next_features).square().mean(-1)
    return (
        masked_mean(cross_entropy, target_valid, num_targets),
        masked_mean(prediction_error, features_valid, num_features),
    )


def gated_actor_loss(
    log_probs: Tensor, values: Tensor, path_kl: Tensor, gate: Tensor, alpha: Tensor, multiplier: Tensor
) -> Tensor:
    """Return the mean over states of ``c(s) <= eps ? alpha * lp - Q : lambda * c(s)``.

    Args:
        log_probs: Log-prob bound of the policy's own actions ``[B]``.
        values: ``Q`` of these actions ``[B]``.
        path_kl: ``c(s)`` ``[B]``.
        gate: Whether ``c(s)`` is within the trust region, bool ``[B]``, not differentiated.
        alpha: Temperature, scalar, constant.
        multiplier: ``lambda``, scalar, constant.
    """
    # multiplication by a mask would turn an infinite loss of the other branch into NaN
    return (alpha * log_probs - values).where(gate, multiplier * path_kl).mean()


def temperature_loss(log_alpha: Tensor, entropy: Tensor, entropy_target: float) -> Tensor:
    """Return ``alpha (l - target)``, which is also its derivative by ``log_alpha``.

    Args:
        log_alpha: Logarithm of the temperature, scalar.
        entropy: Entropy bound ``l`` of the batch, scalar, constant.
        entropy_target: Target of ``l`` in nats, summed over dimensions.
    """
    return log_alpha.exp() * (entropy - entropy_target)


def multiplier_loss(log_lambda: Tensor, path_kl: Tensor, kl_bound: float) -> Tensor:
    """Return ``-lambda (mean c - eps)``, which is also its derivative by ``log_lambda``.

    Args:
        log_lambda: Logarithm of the trust region's multiplier, scalar.
        path_kl: Mean path KL of the batch, scalar, constant.
        kl_bound: Trust region ``eps``.
    """
    return -log_lambda.exp() * (path_kl - kl_bound)
