# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's models as encoders: what they compute in front of their heads is the latent of actor or critic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from trudi_rsl.policies.observations import ObservationEncoder
from trudi_rsl.rsl_rl_compat.models import encoder_class

VECTORS = "vectors (normalised)"
"""Name under which a model gets the concatenated and normalised vectors."""


class ImageType(NamedTuple):
    """What an image group holds."""

    shape: tuple[int, ...]
    """``(C, H, W)``."""
    dtype: torch.dtype
    """Integers are scaled to [0, 1] by the largest of their type."""

    @property
    def scale(self) -> float:
        """Factor of the values."""
        return 1.0 if self.dtype.is_floating_point else 1.0 / torch.iinfo(self.dtype).max


class ImageEncoder(ObservationEncoder):
    """RSL-RL's ``CNNModel``, or a subclass, without its head: normalised vectors, then the features of image groups.

    Args:
        obs: Example observations; those of the image groups are ``[B, C, H, W]``, which only their shapes are read of.
        groups: Names of the observation groups.
        section: The setting ``actor_encoder`` or ``critic_encoder``.
        normalize: Whether to normalise vectors, unless the section says it.

    Raises:
        ConfigError: If no group is an image, or RSL-RL refuses the section.
    """

    is_learned = True
    model: Any

    def __init__(self, obs: TensorDict, groups: Sequence[str], section: Mapping[str, Any], normalize: bool) -> None:
        images = [name for name in groups if obs[name].ndim == 4]
        vectors = [name for name in groups if name not in images]
        num_obs = sum(obs[name].shape[-1] for name in vectors)
        super().__init__(vectors, num_obs, section.get("obs_normalization", normalize) and num_obs > 0)
        self.image_groups = images
        self.image_types = {name: ImageType(tuple(obs[name].shape[1:]), obs[name].dtype) for name in images}
        examples = {name: torch.zeros(1, *image.shape, dtype=image.dtype) for name, image in self.image_types.items()}
        vector = torch.zeros(1, num_obs)
        self.scales_images: bool = section["class_name"] == "CNNModel"
        """Whether integers are scaled to [0, 1]; a subclass may do that itself and sees images as they are."""
        self.model = headless(section["class_name"], {VECTORS: vector} | examples, cnn_cfg=section["cnn_cfg"])
        # RSL-RL accepts kernels larger than the image
        self._num_latents: int = self.encode(vector, examples).shape[-1]

    @property
    def num_latents(self) -> int:
        """Dimension of the latents: the vectors, then the features of the images."""
        return self._num_latents

    def concatenate(self, obs: TensorDict | dict[str, Tensor]) -> Tensor:
        """Return the raw vectors ``[B, O]``; ``[B, 0]`` where all groups are images."""
        if self.groups:
            return super().concatenate(obs)
        image = obs[self.image_groups[0]]
        return torch.zeros(len(image), 0, device=image.device)

    def encode(self, normalized: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """Return the latents ``[B, L]`` of normalised vectors ``[B, O]`` and images; gradients reach the CNNs."""
        seen = {name: images[name] for name in self.image_groups}
        if self.scales_images:
            seen = {name: x.to(normalized.dtype) * self.image_types[name].scale for name, x in seen.items()}
        return self.model.get_latent({VECTORS: normalized} | seen).to(normalized.dtype)


def headless(kind: str, obs: Mapping[str, Tensor], **options: Any) -> Any:
    """Return one of RSL-RL's models for example observations, normalised before, without head and distribution."""
    example: Any = TensorDict(dict(obs), batch_size=[1])
    model = encoder_class(kind)(example, {"state": list(obs)}, "state", 1, hidden_dims=[1], **options)
    model.mlp = nn.Identity()
    return model
