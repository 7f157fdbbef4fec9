# SPDX-License-Identifier: BSD-3-Clause
"""Distributional Q-function with a feature-prediction head (REPPO, arXiv 2507.11019)."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from trudi_rsl.networks.hl_gauss import HLGauss

ZERO_CODE_GAIN = 40.0
"""Gain of the learned logit offset, which is initialised with the HL-Gauss code of value 0."""

EMPTY_LOGIT = -12.0
"""Logit, relative to the nearest old bin, of a bin outside the range that the critic was trained on."""


class CriticOutput(NamedTuple):
    """The critic's outputs for a batch of state-action pairs."""

    logits: Tensor
    """Value logits ``[..., num_bins]``."""
    features: Tensor
    """Encoder features of (s, a), ``[..., F]``."""
    predicted_features: Tensor
    """Prediction of the next pair's features, ``[..., F]``."""


class _RMSNorm(nn.RMSNorm):
    """RMSNorm that computes in the dtype of its weight, also for features in reduced precision."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise features ``[..., F]``."""
        return super().forward(x.to(self.weight.dtype))


def _head(dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), nn.Linear(dim, dim), _RMSNorm(dim), nn.SiLU(), nn.Linear(dim, out_dim))


class QCritic(nn.Module):
    """``Q(s, a)`` as a categorical distribution over a value range; no target network.

    Args:
        num_obs: Dimension of the (normalised) critic observation.
        num_actions: Action dimension ``A``; actions are unit actions in [-1, 1].
        hidden_dim: Width ``F`` of every layer and of the features.
        vmin, vmax, num_bins: Range and bins of the values, as for :class:`HLGauss`.
    """

    def __init__(
        self, num_obs: int, num_actions: int, hidden_dim: int, vmin: float, vmax: float, num_bins: int = 151
    ) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.encoder = nn.Sequential(
            nn.Linear(num_obs + num_actions, hidden_dim),
            _RMSNorm(hidden_dim),
            nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim),
        )
        self.value_head = _head(hidden_dim, num_bins)
        self.feature_head = _head(hidden_dim, hidden_dim)
        self.hl_gauss = HLGauss(vmin, vmax, num_bins)
        self.zero_code = nn.Parameter(self.hl_gauss.encode(torch.zeros(())))

    def _logits_and_features(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(torch.cat([obs, actions], dim=-1))
        return self.value_head(features) + ZERO_CODE_GAIN * self.zero_code, features

    def forward(self, obs: Tensor, actions: Tensor) -> CriticOutput:
        """Evaluate all heads at normalised critic observations ``[..., O]`` and unit actions ``[..., A]``."""
        logits, features = self._logits_and_features(obs, actions)
        return CriticOutput(logits, features, self.feature_head(features))

    def value_and_features(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``Q`` ``[...]`` and the features ``[..., F]``, without the prediction head."""
        logits, features = self._logits_and_features(obs, actions)
        return self.decode(logits), features

    def value(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Return ``Q(s, a)``, ``[...]``."""
        return self.value_and_features(obs, actions)[0]

    @torch.no_grad()
    def widen(self, vmin: Tensor, vmax: Tensor) -> None:
        """Widen the value range to contain two scalars, preserving ``Q`` to about the new bins' resolution.

        Logits belong to bin indices, so changing only the range would rescale every value. Therefore the last layer is
        resampled: the row of a new bin is a weighted mean of the old bins around its centre, and bins outside the old
        range start nearly empty. Nothing changes if the range contains the scalars. No value is read on the host.
        """
        gauss, last = self.hl_gauss, cast(nn.Linear, self.value_head[-1])
        old_min, old_width = gauss.vmin.clone(), gauss.vmax - gauss.vmin
        # widening to the same range would leave a rounding error
        is_wider = (vmin < gauss.vmin) | (vmax > gauss.vmax)
        gauss.set_range(torch.minimum(vmin, gauss.vmin), torch.maximum(vmax, gauss.vmax))
        position = (gauss.centers() - old_min) / old_width * (gauss.num_bins - 1)
        inside = position.clamp(0.0, gauss.num_bins - 1.0)
        # triangular kernel with the width of a new bin in units of old ones, so that no old bin is skipped
        reach = ((gauss.vmax - gauss.vmin) / old_width).clamp(min=1.0)
        old_bins = torch.arange(gauss.num_bins, device=position.device)
        weights = (1.0 - (inside[:, None] - old_bins).abs() / reach).clamp(min=0.0)
        weights /= weights.sum(-1, keepdim=True)
        for parameter in (last.weight, last.bias, self.zero_code):
            parameter.copy_(torch.where(is_wider, weights @ parameter, parameter))
        last.bias.add_(torch.where(is_wider & (position != inside), EMPTY_LOGIT, 0.0))

    def decode(self, logits: Tensor) -> Tensor:
        """Return the expected value of logits ``[..., num_bins]``."""
        return self.hl_gauss.decode(logits.softmax(-1))
