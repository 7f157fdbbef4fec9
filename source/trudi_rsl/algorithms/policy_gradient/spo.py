# SPDX-License-Identifier: BSD-3-Clause
"""Simple Policy Optimization (SPO, arXiv 2401.16025)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from trudi_rsl.algorithms.model_checkpoint import PolicyGradientAlgorithm
from trudi_rsl.algorithms.policy_gradient.policy_gradient import PolicyGradient
from trudi_rsl.algorithms.policy_gradient.surrogates import penalised_surrogate


class SPO(PolicyGradient):
    """PPO whose ratio is drawn back by a quadratic penalty instead of being clipped.

    ``clip_param`` is its ``eps``: the surrogate is best at a ratio of ``1 + eps`` for good actions and ``1 - eps`` for
    bad ones, and pulls ratios beyond back, where PPO's gradient is zero.
    """

    algo: ClassVar[PolicyGradientAlgorithm] = "spo"

    def surrogate(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return ``-(r A - |A| / (2 eps) (r - 1)^2)``, ``[B]``; see :class:`PolicyGradient`."""
        return penalised_surrogate(ratio, advantages, self.clip_param)
