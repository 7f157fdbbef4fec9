# SPDX-License-Identifier: BSD-3-Clause
"""Whole sequences of a rollout, for encoders that remember.

A rollout of ``T`` steps in ``E`` environments is cut into sequences of ``S`` steps; column ``s E + e`` is sequence
``s`` of environment ``e``. Inside, RSL-RL's function splits trajectories at the ends of episodes and pads them. It
reads sizes on the host, so it gets numbers of rows there instead of observations on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import torch
from rsl_rl.utils import split_and_pad_trajectories, unpad_trajectories
from torch import Tensor

from trudi_rsl.policies.recurrent import PaddedSequences, RecurrentEncoder


class Trajectories(NamedTuple):
    """Trajectories of a minibatch."""

    rows: Tensor
    """Rows ``t E + e`` of their steps, long ``[L, M]``; 0 where padded."""
    columns: Tensor
    """Columns that they are of, long ``[M]``."""
    are_continued: Tensor
    """Whether they begin with their column, and not with an episode inside of it; bool ``[M]``."""
    positions: Tensor
    """Steps ``l M + m`` of the minibatch's rows, long ``[B]``."""

    def to(self, device: torch.device) -> Trajectories:
        """Return them on a device, without a GPU sync."""
        return Trajectories(*(x.to(device, non_blocking=True) for x in self))


def repeat_kept(kept: Tensor) -> Tensor:
    """Return the indices ``[N]`` of entries where ``kept``, bool ``[N]``, holds, repeated in place of the others.

    In order where all are kept; without a GPU sync. Meaningless if none is kept.
    """
    kept_first = torch.argsort(~kept, stable=True)
    return kept_first[torch.arange(len(kept), device=kept.device) % kept.sum().clamp(min=1)]


def split_columns(columns: Tensor, ended: Tensor, seen: Tensor, length: int) -> tuple[Tensor, Trajectories]:
    """Return the rows ``[B]`` to learn from in some columns, and the trajectories that their latents need.

    Args:
        columns: Numbers of columns ``[C]``, on the CPU.
        ended: Ends of episodes, bool ``[T, E]``.
        seen: Rows to learn from, bool ``[T, E]``; others are replaced by repetitions. In each column there is one.
        length: Steps ``S`` of a sequence.
    """
    num_envs = ended.shape[1]
    sequence, env = columns // num_envs, columns % num_envs
    rows = (sequence * length + torch.arange(length)[:, None]) * num_envs + env
    padded, masks = cast("tuple[Tensor, Tensor]", split_and_pad_trajectories(rows[..., None], ended.flatten()[rows]))
    padded = padded[..., 0]
    num_steps, num_trajectories = padded.shape
    steps = torch.arange(num_steps * num_trajectories).view(num_steps, num_trajectories, 1)
    positions = cast(Tensor, unpad_trajectories(steps, masks)).flatten()
    kept = repeat_kept(seen.flatten()[rows.flatten()])
    first_steps, first_envs = padded[0] // num_envs, padded[0] % num_envs
    columns_of = first_steps // length * num_envs + first_envs
    trajectories = Trajectories(padded, columns_of, first_steps % length == 0, positions[kept])
    return rows.flatten()[kept], trajectories


class SequenceStorage:
    """What recurrent encoders need of one rollout: their inputs, their states at the starts of sequences, and resets.

    Args:
        num_steps: Rollout length ``T``.
        num_envs: Number of environments ``E``.
        length: Steps ``S`` of a sequence, a divisor of ``T``.
        encoders: The recurrent ones of ``actor`` and ``critic``.
        device: Device of the storage.
    """

    def __init__(
        self,
        num_steps: int,
        num_envs: int,
        length: int,
        encoders: Mapping[str, RecurrentEncoder],
        device: torch.device | str,
    ) -> None:
        self.num_steps, self.num_envs, self.length, self.device = num_steps, num_envs, length, torch.device(device)
        self.num_columns = num_steps // length * num_envs
        self.inputs = {name: torch.zeros(num_steps, num_envs, e.num_obs, device=device) for name, e in encoders.items()}
        """Normalised observations ``[T, E, O]`` by encoder."""
        self.states = {
            name: torch.zeros(num_steps // length, *encoder.state_shape(num_envs), device=device)
            for name, encoder in encoders.items()
        }
        """States before the first steps of sequences ``[T / S, P, N, E, H]`` by encoder."""
        self.ended = torch.zeros(num_steps, num_envs, dtype=torch.bool, device=device)
        """Ends of episodes, after which states are zero, ``[T, E]``."""

    def add_step(self, step: int, inputs: Mapping[str, Tensor], states: Mapping[str, Tensor]) -> None:
        """Write the inputs ``[E, O]`` of a row, and the states ``[P, N, E, H]`` before it if a sequence starts there.

        The row after the rollout is not stored.
        """
        if step == self.num_steps:
            return
        for name, values in inputs.items():
            self.inputs[name][step].copy_(values)
            if step % self.length == 0:
                self.states[name][step // self.length].copy_(states[name])

    def batches(
        self, seen: Tensor, num_epochs: int, num_minibatches: int
    ) -> Iterator[list[tuple[Tensor, Trajectories]]]:
        """Yield, for each epoch, the rows ``[B]`` and trajectories of its minibatches, all columns in a fresh order.

        Ends of episodes and ``seen``, the rows to learn from (bool ``[T, E]``), are read on the host once. Columns
        without such a row are replaced by repetitions.

        Raises:
            ValueError: If there are fewer columns than minibatches.
        """
        if num_minibatches > self.num_columns:
            raise ValueError(f"{self.num_columns} sequences can't make {num_minibatches} minibatches.")
        ended, seen = torch.stack([self.ended, seen]).cpu()
        kept = repeat_kept(seen.view(-1, self.length, self.num_envs).any(1).flatten())
        size = self.num_columns // num_minibatches
        for _ in range(num_epochs):
            order = kept[torch.randperm(self.num_columns)][: num_minibatches * size].view(num_minibatches, size)
            split = (split_columns(columns, ended, seen, self.length) for columns in order)
            yield [(rows.to(self.device, non_blocking=True), parts.to(self.device)) for rows, parts in split]

    def padded(self, trajectories: Trajectories) -> dict[str, PaddedSequences]:
        """Return what each encoder replays for a minibatch, by the encoder's name."""
        rows, columns, are_continued, positions = trajectories
        sequences = {}
        for name, inputs in self.inputs.items():
            states: Any = self.states[name].movedim(0, 2).flatten(2, 3)[:, :, columns]
            state = states * are_continued[:, None]
            sequences[name] = PaddedSequences(inputs.flatten(0, 1)[rows], state, positions)
        return sequences
