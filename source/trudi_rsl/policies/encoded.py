# SPDX-License-Identifier: BSD-3-Clause
"""Deployable forms of policies behind RSL-RL's models: the encoder, then the deployable form of what stands on it."""

# No `from __future__ import annotations` here: TorchScript reads the annotations and cannot resolve strings.

import copy
from collections.abc import Mapping
from typing import List  # noqa: UP035  TorchScript knows this spelling

import torch
from torch import Tensor, nn

from trudi_rsl.errors import ConfigError
from trudi_rsl.policies.base import WHOLE_CHAIN, ChainOptions
from trudi_rsl.policies.deployable import DeployablePolicy, InferencePolicy
from trudi_rsl.policies.encoders import ImageEncoder
from trudi_rsl.rsl_rl_compat.models import encoder_class


class ImageInferencePolicy(nn.Module):
    """``obs [B, O], images -> actions [B, A]`` with the arguments of RSL-RL's exported ``CNNModel``.

    Args:
        encoder: The actor's; its networks are copied.
        head: The deployable form of the actor on its latents.
    """

    def __init__(self, encoder: ImageEncoder, head: InferencePolicy) -> None:
        super().__init__()
        self.head = head
        types = [encoder.image_types[name] for name in encoder.image_groups]
        self.image_groups: List[str] = list(encoder.image_groups)  # noqa: UP006
        self.image_shapes: List[List[int]] = [list(image.shape) for image in types]  # noqa: UP006
        self.scales: List[float] = [image.scale for image in types]  # noqa: UP006
        self.image_types: List[str] = [str(image.dtype).removeprefix("torch.") for image in types]  # noqa: UP006
        if type(encoder.model).get_latent is not encoder_class("CNNModel").get_latent:
            raise ConfigError(
                f"A policy whose encoder is a {type(encoder.model).__name__} cannot be exported: it has a get_latent "
                "of its own in place of CNNModel's."
            )
        cnns = [copy.deepcopy(encoder.model.cnns[name]).requires_grad_(False) for name in encoder.image_groups]
        self.cnns = nn.ModuleList(cnns)
        self.num_obs: int = encoder.num_obs
        self.eval()

    def forward(self, obs: Tensor, images: List[Tensor]) -> Tensor:  # noqa: UP006
        """Return simulator actions ``[B, A]`` for raw vectors ``[B, O]`` and images ``[B, C, H, W]`` in order."""
        latents = [self.head.normalized(obs)]
        for i, cnn in enumerate(self.cnns):
            latents.append(cnn(images[i].to(obs.dtype) * self.scales[i]))
        return self.head.to_simulator(self.head.latent(torch.cat(latents, dim=-1)))

    @torch.jit.export
    def reset(self) -> None:
        """Do nothing; deployment stacks call it at the start of every episode."""

    @torch.jit.unused
    def example_images(self, batch_size: int = 1) -> dict[str, Tensor]:
        """Return images of zeros ``[B, C, H, W]`` by group."""
        shapes = zip(self.image_groups, self.image_shapes, self.image_types, strict=True)
        return {name: torch.zeros(batch_size, *shape, dtype=getattr(torch, dtype)) for name, shape, dtype in shapes}


class OnnxImagePolicy(nn.Module):
    """The same, shared and not copied, with one input per image group; without ``obs`` if there are only images."""

    output_names = ["actions"]  # noqa: RUF012  RSL-RL's ONNX exporter passes the list on unchanged

    def __init__(self, policy: ImageInferencePolicy) -> None:
        super().__init__()
        self.policy = policy

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs in order, as RSL-RL's exported ``CNNModel`` has them."""
        return [*(["obs"] if self.policy.num_obs else []), *self.policy.image_groups]

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return simulator actions ``[B, A]`` for raw vectors ``[B, O]``, if there are any, and images in order."""
        if self.policy.num_obs:
            return self.policy(inputs[0], list(inputs[1:]))
        return self.policy(torch.zeros(inputs[0].shape[0], 0), list(inputs))

    def get_dummy_inputs(self, batch_size: int = 1) -> tuple[Tensor, ...]:
        """Return example inputs in order."""
        vectors = [torch.zeros(batch_size, self.policy.num_obs)] if self.policy.num_obs else []
        return (*vectors, *self.policy.example_images(batch_size).values())


DeployedForm = InferencePolicy | ImageInferencePolicy
"""What a policy exports as TorchScript."""


def deployed(policy: DeployablePolicy, options: ChainOptions = WHOLE_CHAIN) -> DeployedForm:
    """Return a frozen copy of the deterministic policy with its encoder; see :meth:`DeployablePolicy.deployable`."""
    head, encoder = policy.deployable(options), policy.actor_obs
    return ImageInferencePolicy(encoder, head) if isinstance(encoder, ImageEncoder) else head


def head_of(policy: DeployedForm) -> InferencePolicy:
    """Return what stands on the latents, with the statistics of vectors, the chain and the squash."""
    return policy if isinstance(policy, InferencePolicy) else policy.head


def onnx_form(policy: DeployedForm) -> nn.Module:
    """Return the module to export as ONNX."""
    return policy if isinstance(policy, InferencePolicy) else OnnxImagePolicy(policy)


def inputs_of(policy: DeployedForm, obs: Tensor, images: Mapping[str, Tensor]) -> tuple[Tensor | list[Tensor], ...]:
    """Return the arguments of a deployed form for raw vectors ``[B, O]`` and images by group."""
    return (obs,) if isinstance(policy, InferencePolicy) else (obs, [images[name] for name in policy.image_groups])
