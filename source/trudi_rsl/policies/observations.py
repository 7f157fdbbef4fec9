# SPDX-License-Identifier: BSD-3-Clause
"""From RSL-RL's observation groups to one normalised vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.distributed import all_gather
from trudi_rsl.rsl_rl_compat.models import EmpiricalNormalization
from trudi_rsl.rsl_rl_compat.version import SHARES_NORMALIZATION


class ObservationEncoder(nn.Module):
    """Concatenates observation groups and normalises them with running statistics.

    Args:
        groups: Observation group names, concatenated in this order.
        num_obs: Total dimension of the groups.
        normalize: Whether to normalise; False passes the concatenation through.
    """

    def __init__(self, groups: Sequence[str], num_obs: int, normalize: bool) -> None:
        super().__init__()
        self.groups = list(groups)
        self.num_obs = num_obs
        self.normalizer: nn.Module = EmpiricalNormalization(num_obs) if normalize else nn.Identity()

    def concatenate(self, obs: TensorDict | dict[str, Tensor]) -> Tensor:
        """Return the raw observation ``[..., O]`` of this encoder's groups."""
        return torch.cat([obs[group] for group in self.groups], dim=-1)

    def normalize(self, raw: Tensor) -> Tensor:
        """Return ``raw`` ``[..., O]`` normalised with the current statistics."""
        return self.normalizer(raw)

    def forward(self, obs: TensorDict | dict[str, Tensor]) -> Tensor:
        """Return the normalised observation ``[..., O]``."""
        return self.normalize(self.concatenate(obs))

    def update(self, raw: Tensor) -> None:
        """Fold raw observations ``[E, O]`` into the statistics; a row with NaN or infinity counts as the mean.

        Such a rollout is refused at its end; the policy that is saved then must be free of it. Several processes all
        fold in the observations of all: from version 5.5 on RSL-RL's normaliser sees to that itself.

        Outside inference mode, since the normaliser replaces its buffers and an inference tensor among them could not
        be loaded into later.
        """
        if not isinstance(self.normalizer, EmpiricalNormalization):
            return
        with torch.inference_mode(False), torch.no_grad():
            finite = torch.isfinite(raw).all(-1, keepdim=True)
            rows = torch.where(finite, raw, self.normalizer.mean)
            self.normalizer.update(rows if SHARES_NORMALIZATION else all_gather(rows).flatten(0, 1))
