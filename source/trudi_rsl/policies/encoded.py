# SPDX-License-Identifier: BSD-3-Clause
"""Deployable forms of policies behind RSL-RL's models: the encoder, then the deployable form of what stands on it."""

# No `from __future__ import annotations` here: TorchScript reads the annotations and cannot resolve strings.

import copy
from collections.abc import Mapping
from typing import List, Tuple  # noqa: UP035  TorchScript knows these spellings

import torch
from torch import Tensor, nn

from trudi_rsl.errors import ConfigError
from trudi_rsl.policies.base import WHOLE_CHAIN, ChainOptions
from trudi_rsl.policies.deployable import DeployablePolicy, InferencePolicy
from trudi_rsl.policies.encoders import ImageEncoder
from trudi_rsl.policies.recurrent import RecurrentEncoder
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
        self.scales: List[float] = [image.scale if encoder.scales_images else 1.0 for image in types]  # noqa: UP006
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


class LstmStep(nn.Module):
    """One step of an LSTM, whose state is one tensor as that of :class:`RecurrentEncoder`."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, normalized: Tensor, state: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        """Return latents ``[B, H]`` of normalised observations ``[B, O]``, and the state ``[2, N, B, H]`` after."""
        latents, (hidden, cell) = self.rnn(normalized.unsqueeze(0), (state[0], state[1]))
        return latents.squeeze(0), torch.stack([hidden, cell])


class GruStep(nn.Module):
    """The same of a GRU."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, normalized: Tensor, state: Tensor) -> Tuple[Tensor, Tensor]:  # noqa: UP006
        """Return latents ``[B, H]`` of normalised observations ``[B, O]``, and the state ``[1, N, B, H]`` after."""
        latents, hidden = self.rnn(normalized.unsqueeze(0), state[0])
        return latents.squeeze(0), hidden.unsqueeze(0)


class RecurrentInferencePolicy(nn.Module):
    """``obs [1, O] -> actions [1, A]`` of one robot, with the state inside, as RSL-RL's exported ``RNNModel``.

    Args:
        encoder: The actor's; its network is copied.
        head: The deployable form of the actor on its latents.
    """

    state: Tensor

    def __init__(self, encoder: RecurrentEncoder, head: InferencePolicy) -> None:
        super().__init__()
        self.head = head
        self.is_lstm: bool = encoder.rnn.mode == "LSTM"
        rnn = copy.deepcopy(encoder.rnn).requires_grad_(False)
        self.step = LstmStep(rnn) if self.is_lstm else GruStep(rnn)
        self.num_obs: int = encoder.num_obs
        self.register_buffer("state", encoder.initial_state(1))
        self.eval()

    def forward(self, obs: Tensor) -> Tensor:
        """Return simulator actions ``[1, A]`` for raw observations ``[1, O]``, and keep the state after them."""
        latents, state = self.step(self.head.normalized(obs), self.state)
        self.state[:] = state
        return self.head.to_simulator(self.head.latent(latents))

    @torch.jit.export
    def reset(self) -> None:
        """Forget the episode so far; deployment stacks call it at the start of every one."""
        self.state[:] = 0.0

    @property
    def input_size(self) -> int:
        """Size ``O`` of the observation, as RSL-RL's models name it."""
        return self.num_obs


class OnnxRecurrentPolicy(nn.Module):
    """The same, shared and not copied, with the state as inputs and outputs, named as those of RSL-RL's export."""

    is_recurrent = True

    def __init__(self, policy: RecurrentInferencePolicy) -> None:
        super().__init__()
        self.policy = policy
        parts = ["h", "c"] if policy.is_lstm else ["h"]
        self.input_names = ["obs", *(f"{part}_in" for part in parts)]
        self.output_names = ["actions", *(f"{part}_out" for part in parts)]

    def forward(self, obs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return simulator actions ``[B, A]`` for raw observations ``[B, O]``, and the state after them.

        States are the hidden state and, for an LSTM, the cell state, each ``[N, B, H]``.
        """
        head = self.policy.head
        latents, after = self.policy.step(head.normalized(obs), torch.stack(state))
        return head.to_simulator(head.latent(latents)), *after.unbind()

    def get_dummy_inputs(self, batch_size: int = 1) -> tuple[Tensor, ...]:
        """Return example inputs in order."""
        return torch.zeros(batch_size, self.policy.num_obs), *self.policy.state.expand(-1, -1, batch_size, -1).unbind()


DeployedForm = InferencePolicy | ImageInferencePolicy | RecurrentInferencePolicy
"""What a policy exports as TorchScript."""


def deployed(policy: DeployablePolicy, options: ChainOptions = WHOLE_CHAIN) -> DeployedForm:
    """Return a frozen copy of the deterministic policy with its encoder; see :meth:`DeployablePolicy.deployable`."""
    head, encoder = policy.deployable(options), policy.actor_obs
    if isinstance(encoder, RecurrentEncoder):
        return RecurrentInferencePolicy(encoder, head)
    return ImageInferencePolicy(encoder, head) if isinstance(encoder, ImageEncoder) else head


def head_of(policy: DeployedForm) -> InferencePolicy:
    """Return what stands on the latents, with the statistics of vectors, the chain and the squash."""
    return policy if isinstance(policy, InferencePolicy) else policy.head


def onnx_form(policy: DeployedForm) -> nn.Module:
    """Return the module to export as ONNX."""
    if isinstance(policy, RecurrentInferencePolicy):
        return OnnxRecurrentPolicy(policy)
    return OnnxImagePolicy(policy) if isinstance(policy, ImageInferencePolicy) else policy


def inputs_of(policy: DeployedForm, obs: Tensor, images: Mapping[str, Tensor]) -> tuple[Tensor | list[Tensor], ...]:
    """Return the arguments of a deployed form for raw vectors ``[B, O]`` and images by group."""
    return (obs, [images[name] for name in policy.image_groups]) if isinstance(policy, ImageInferencePolicy) else (obs,)
