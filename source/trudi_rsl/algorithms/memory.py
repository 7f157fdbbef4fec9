# SPDX-License-Identifier: BSD-3-Clause
"""From the observations of a step to what acts, and the states of recurrent encoders between the steps of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trudi_rsl.acceleration import network_precision
from trudi_rsl.algorithms.nonfinite import filter_nonfinite
from trudi_rsl.checkpoints.format import HIDDEN_STATES
from trudi_rsl.policies import ActorCritic
from trudi_rsl.policies.recurrent import RecurrentEncoder, cleared
from trudi_rsl.settings import Precision

NAMES = ("actor", "critic")
"""Names of a model's encoders, of which there is one if the critic sees what the actor sees."""


class Perception(NamedTuple):
    """What actor, rollout and memory take of the observations of a step, all finite."""

    latents: Tensor
    """Latents of the actor's encoder ``[E, L]``."""
    stored: list[Tensor]
    """What the rollout stores for the model's encoders: normalised observations, or latents of recurrent ones."""
    inputs: dict[str, Tensor]
    """Normalised observations ``[E, O]`` of recurrent encoders, by ``actor`` and ``critic``."""
    states: dict[str, Tensor]
    """Their states ``[P, N, E, H]`` after these observations."""
    images: dict[str, Tensor]
    """Images ``[E, C, H, W]`` by observation group."""
    finite: Tensor
    """Where observations were finite, bool ``[E]``; elsewhere they count as the mean."""


def perceive(
    model: ActorCritic[Any], images: Mapping[str, Tensor], states: Mapping[str, Tensor], raw: Sequence[Tensor]
) -> Perception:
    """Normalise, filter and encode the observations of a step.

    Args:
        model: The module with the encoders.
        images: Images by observation group.
        states: States of recurrent encoders before the step.
        raw: Raw observations ``[E, O]`` of the encoders.
    """
    normalized = (encoder.normalize(x) for encoder, x in zip(model.encoders, raw, strict=True))
    # an environment with non-finite observations gets the action of a mean observation until it is reset
    values, finite = filter_nonfinite(*normalized, *images.values())
    stored, seen_images = list(values[: len(raw)]), dict(zip(images, values[len(raw) :], strict=True))
    inputs, after = {}, {}
    for i, (name, encoder) in enumerate(zip(NAMES, model.encoders, strict=False)):
        if isinstance(encoder, RecurrentEncoder):
            inputs[name] = stored[i]
            stored[i], after[name] = encoder.step(stored[i], states[name])
    return Perception(model.actor_obs.encode(stored[0], seen_images), stored, inputs, after, seen_images, finite)


class Memory:
    """States of the actor's and the critic's recurrent encoders in all environments of training.

    Those that evaluations and deployed policies act with are kept by the encoders themselves.

    Args:
        model: The module with the encoders.
        num_envs: Number of environments ``E``.
        precision: Precision of the networks.
    """

    def __init__(self, model: ActorCritic[Any], num_envs: int, precision: Precision) -> None:
        self._model = model
        self._precision: Precision = precision
        self.states = {name: encoder.initial_state(num_envs) for name, encoder in model.recurrent_encoders.items()}
        """States ``[P, N, E, H]`` after the last observations that were acted on, by ``actor`` and ``critic``."""

    def keep(self, states: Mapping[str, Tensor]) -> None:
        """Adopt the states after a step."""
        for name, state in states.items():
            self.states[name].copy_(state)

    def reset(self, ended: Tensor) -> None:
        """Forget the environments in which an episode ``ended``, bool ``[E]``."""
        self.keep({name: cleared(state, ended) for name, state in self.states.items()})

    def reset_ended(self, terminated: Tensor, truncated: Tensor) -> None:
        """Forget the environments in which an episode ended in one of two ways, each bool ``[E]``."""
        # without states, not a kernel is launched
        if self.states:
            self.reset(terminated | truncated)

    @torch.no_grad()
    def final_latents(self, raw: Sequence[Tensor]) -> list[Tensor]:
        """Return what the rollout stores of raw final observations ``[E, O]`` of the model's encoders.

        Those of a recurrent encoder become latents, with the states before any reset, NaN where an observation is not
        finite; others remain.
        """
        stored = list(raw)
        for i, (name, encoder) in enumerate(zip(NAMES, self._model.encoders, strict=False)):
            if isinstance(encoder, RecurrentEncoder):
                with network_precision(self._precision, raw[i].device.type):
                    latents, _ = encoder.step(encoder.normalize(raw[i]), self.states[name])
                # gates would hide an infinity
                stored[i] = latents.masked_fill(~torch.isfinite(raw[i]).all(-1, keepdim=True), torch.nan)
        return stored

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """Return the states as an entry of a checkpoint, none without recurrent encoders."""
        return {HIDDEN_STATES: {name: state.clone() for name, state in self.states.items()}} if self.states else {}

    def load(self, checkpoint: Mapping[str, Any], episodes_continue: bool) -> None:
        """Restore the states where the checkpoint's episodes continue, else forget everything."""
        saved = checkpoint.get(HIDDEN_STATES, {}) if episodes_continue else {}
        for name, state in self.states.items():
            found = saved.get(name)
            if isinstance(found, Tensor) and found.shape == state.shape:
                state.copy_(found)
            else:
                state.zero_()
