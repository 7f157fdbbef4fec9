# SPDX-License-Identifier: BSD-3-Clause
"""From RSL-RL's observation groups to one normalised vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.policies.normalization import RunningNormalization
from trudi_rsl.rsl_rl_compat.models import EmpiricalNormalization


class ObservationEncoder(nn.Module):
    """Concatenates observation groups of vectors and normalises them with running statistics.

    Subclasses encode what is normalised, and images beside it, as the latents on which actor and critic stand.

    Args:
        groups: Observation group names, concatenated in this order.
        num_obs: Total dimension ``O`` of the groups.
        normalize: Whether to normalise; False passes the concatenation through.
    """

    image_groups: Sequence[str] = ()
    """Names of the groups that are images."""
    is_learned = False
    """Whether the encoder has parameters."""
    is_recurrent = False
    """Whether latents depend on earlier observations of the episode."""

    def __init__(self, groups: Sequence[str], num_obs: int, normalize: bool) -> None:
        super().__init__()
        self.groups = list(groups)
        self.num_obs = num_obs
        self.normalizer: nn.Module = RunningNormalization(num_obs) if normalize else nn.Identity()

    @property
    def num_latents(self) -> int:
        """Dimension of the latents."""
        return self.num_obs

    @property
    def num_stored(self) -> int:
        """Numbers per state that the rollout stores, of which :meth:`encode` makes latents."""
        return self.num_obs

    @property
    def has_statistics(self) -> bool:
        """Whether observations are normalised."""
        return isinstance(self.normalizer, EmpiricalNormalization)

    def statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return mean and inverse standard deviation ``[1, O]`` of the observations; 0 and 1 ``[O]`` without them."""
        if isinstance(self.normalizer, EmpiricalNormalization):
            return self.normalizer.mean, 1.0 / (self.normalizer.std + self.normalizer.eps)
        return torch.zeros(self.num_obs, device=device), torch.ones(self.num_obs, device=device)

    def concatenate(self, obs: TensorDict | dict[str, Tensor]) -> Tensor:
        """Return the raw observation ``[..., O]`` of this encoder's groups, a single group in its own memory.

        Raises:
            TypeError: If ``obs`` is a tensor instead of observation groups.
        """
        if isinstance(obs, Tensor):
            example = f"TensorDict({{{self.groups[0]!r}: obs}}, batch_size=obs.shape[:-1])"
            raise TypeError(f"Observations are groups of tensors, {', '.join(self.groups)}, not one tensor: {example}.")
        parts = [obs[group] for group in self.groups]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def normalize(self, raw: Tensor) -> Tensor:
        """Return ``raw`` ``[..., O]`` normalised with the current statistics."""
        return self.normalizer(raw)

    def encode(self, normalized: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """Return the latents of normalised vectors ``[B, O]`` and images ``[B, C, H, W]`` by group: the vectors."""
        return normalized

    def encode_final(self, raw: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """Return the latents of what the rollout stores of final observations: raw vectors ``[B, O]``, and images."""
        return self.encode(self.normalize(raw), images)

    def forward(self, obs: TensorDict | dict[str, Tensor]) -> Tensor:
        """Return the latents of observation groups, ``[..., O]`` without images."""
        return self.encode(self.normalize(self.concatenate(obs)), {name: obs[name] for name in self.image_groups})

    def reset(self, dones: Tensor | None = None) -> None:
        """Do nothing: the encoder has no memory."""

    def update(self, raw: Tensor) -> None:
        """Update the statistics with raw observations ``[E, O]``; a row with NaN or infinity counts as the mean.

        A rollout with such rows is rejected at its end, and the policy that is then saved must be free of them. In
        distributed training every rank uses the observations of all ranks.
        """
        if not isinstance(self.normalizer, EmpiricalNormalization):
            return
        with torch.inference_mode(False), torch.no_grad():
            # 0 x is NaN for infinity and NaN
            finite = (0 * raw).sum(-1, keepdim=True).eq(0)
            self.normalizer.update(torch.where(finite, raw, self.normalizer.mean))
