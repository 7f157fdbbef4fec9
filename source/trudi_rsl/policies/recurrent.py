# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's recurrent model as an encoder, whose latents depend on all observations since the episode's start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.policies.encoders import VECTORS, headless
from trudi_rsl.policies.observations import ObservationEncoder


class PaddedSequences(NamedTuple):
    """Trajectories that a recurrent encoder runs through in one call, padded to ``L`` steps."""

    inputs: Tensor
    """Normalised observations ``[L, M, O]``; those of padded steps are not used."""
    state: Tensor
    """States before the first steps, ``[P, N, M, H]``."""
    positions: Tensor
    """Steps ``l M + m`` of which latents are wanted, long ``[B]``."""


def leaf(latents: Tensor) -> Tensor:
    """Return latents that a gradient can be taken by, without their graph."""
    return latents.detach().requires_grad_()


def leaves(latents: Tensor) -> list[Tensor]:
    """Return the latents if a gradient is to be taken by them, as by those of :func:`leaf`."""
    return [latents] if latents.requires_grad else []


class RecurrentEncoder(ObservationEncoder):
    """RSL-RL's ``RNNModel`` without its head: an LSTM or a GRU on normalised vectors.

    A state is one tensor ``[P, N, B, H]`` for ``B`` environments: ``P`` is 2 for an LSTM (hidden and cell state) and 1
    for a GRU, ``N`` is the number of layers, ``H`` their width, which is the dimension of the latents. It is zero at an
    episode's start. RNNs compute in float32 also where the heads' products are in bfloat16.

    Rollouts store latents in place of observations, so that the critic and the old policy need no second pass.

    Args:
        obs: Example observations.
        groups: Names of the observation groups.
        section: The setting ``actor_encoder`` or ``critic_encoder``.
        normalize: Whether to normalise, unless the section says it.
    """

    is_learned = True
    is_recurrent = True
    model: Any

    def __init__(self, obs: TensorDict, groups: Sequence[str], section: Mapping[str, Any], normalize: bool) -> None:
        num_obs = sum(obs[name].shape[-1] for name in groups)
        super().__init__(groups, num_obs, section.get("obs_normalization", normalize))
        options = {name: value for name, value in section.items() if name.startswith("rnn_")}
        self.model = headless("RNNModel", {VECTORS: torch.zeros(1, num_obs)}, **options)
        self.hidden_state: Tensor | None = None
        """State of the environments that :meth:`forward` acts in; None at their start."""

    @property
    def rnn(self) -> torch.nn.RNNBase:
        """The LSTM or GRU."""
        return self.model.rnn.rnn

    @property
    def num_latents(self) -> int:
        """Dimension of the latents."""
        return self.rnn.hidden_size

    @property
    def num_stored(self) -> int:
        """Numbers per state that the rollout stores: the latents."""
        return self.num_latents

    def state_shape(self, batch: int) -> tuple[int, int, int, int]:
        """Return the shape ``[P, N, B, H]`` of a state."""
        return 2 if self.rnn.mode == "LSTM" else 1, self.rnn.num_layers, batch, self.rnn.hidden_size

    def initial_state(self, batch: int) -> Tensor:
        """Return the state ``[P, N, B, H]`` at the start of episodes."""
        weight = next(self.rnn.parameters())
        return torch.zeros(self.state_shape(batch), dtype=weight.dtype, device=weight.device)

    def step(self, normalized: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents ``[B, H]`` of normalised observations ``[B, O]``, and the state after them."""
        outputs, state = self._run(normalized[None], state)
        return outputs[0], state

    def replay(self, sequences: PaddedSequences) -> Tensor:
        """Return the latents ``[B, H]`` of whole trajectories; gradients run back to their first steps."""
        outputs, _ = self._run(sequences.inputs, sequences.state)
        return outputs.flatten(0, 1)[sequences.positions]

    def gradient_through(self, latents: Tensor, gradient: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return a gradient by a head's parameters and its latents as one by all parameters, the encoder's last.

        ``latents`` are those of :meth:`replay`. The recurrent network runs outside of compiled functions, since the
        number of trajectories varies.
        """
        *by_head, by_latents = gradient
        return *by_head, *torch.autograd.grad(latents, list(self.parameters()), by_latents)

    def _run(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(inputs.device.type, enabled=False):
            if len(state) == 1:
                return self._stacked(*self.rnn(inputs, state[0]))
            return self._stacked(*self.rnn(inputs, (state[0], state[1])))

    @staticmethod
    def _stacked(outputs: Tensor, state: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return outputs, torch.stack(state) if isinstance(state, tuple) else state[None]

    def encode(self, normalized: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """Return the latents of what a rollout stores, which they are."""
        return normalized

    def encode_final(self, raw: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """Return the latents of what a rollout stores of final observations, which they are."""
        return raw

    # -- acting with the state kept here ------------------------------------------------------------------------------

    def forward(self, obs: TensorDict | dict[str, Tensor]) -> Tensor:
        """Return the latents ``[B, H]`` of observation groups, and keep the state after them.

        Raises:
            ValueError: If the kept state is of another number of environments.
        """
        normalized = self.normalize(self.concatenate(obs))
        state = self.initial_state(len(normalized)) if self.hidden_state is None else self.hidden_state
        if state.shape[2] != len(normalized):
            raise ValueError(
                f"The policy remembers {state.shape[2]} environments and got observations of {len(normalized)}: call "
                "its reset() first."
            )
        latents, after = self.step(normalized, state)
        # one NaN must not stay in the memory
        finite = torch.isfinite(normalized).all(-1, keepdim=True)
        self.hidden_state = torch.where(finite, after, state)
        return latents

    def reset(self, dones: Tensor | None = None) -> None:
        """Forget the environments in which an episode ended, where ``dones`` ``[B]`` is not 0; all of them for None."""
        if dones is None or (self.hidden_state is not None and len(dones) != self.hidden_state.shape[2]):
            self.hidden_state = None
        elif self.hidden_state is not None:
            self.hidden_state = cleared(self.hidden_state, dones)


def cleared(state: Tensor, dones: Tensor) -> Tensor:
    """Return a state ``[P, N, B, H]`` with zeros where ``dones`` ``[B]`` is not 0, and unchanged elsewhere."""
    return state.masked_fill((dones.reshape(-1) != 0)[:, None], 0.0)
