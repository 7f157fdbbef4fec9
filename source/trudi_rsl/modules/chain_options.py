# SPDX-License-Identifier: BSD-3-Clause
"""How a chain runs when it acts deterministically."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ChainOptions:
    """Choices of a deterministic chain; policies without one have the defaults only.

    Raises:
        ValueError: If a value is out of range.
    """

    score_scale: float = 1.0
    """Score scale ``c`` of a diffusion policy's ODE, above 0 (paper Eq. 185: 1/2 is the probability-flow ODE); other
    policies have 1 only."""
    num_steps: int | None = None
    """Steps, from 1 to those that the policy was trained with, consecutive ones of which are merged; None is all."""
    seed: int | None = None
    """Seed of the fixed initial latent; None starts at zeros."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if not self.score_scale > 0.0:
            raise ValueError(f"score_scale must be above 0, got {self.score_scale}.")
        if self.num_steps is not None and self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}.")

    def start(self, num_actions: int, std: float) -> Tensor:
        """Return the start of the chain for all states, ``[1, A]``.

        Args:
            num_actions: Action dimension ``A``.
            std: Standard deviation of a random start.
        """
        if self.seed is None:
            return torch.zeros(1, num_actions)
        return std * torch.randn(1, num_actions, generator=torch.Generator().manual_seed(self.seed))

    def starts_for(self, obs: Tensor, num_actions: int, std: float) -> Tensor:
        """Return that start for observations ``[B, O]``, as a view ``[B, A]``, where and as exact as they are."""
        # made on the device: a copy to it would wait for it at every action
        start = obs.new_zeros(1, num_actions) if self.seed is None else self.start(num_actions, std).to(obs)
        return start.expand(len(obs), -1)

    def steps_of(self, num_trained: int) -> int:
        """Return the number of steps of a chain that was trained with ``num_trained``.

        Raises:
            ValueError: If more are asked for.
        """
        if self.num_steps is not None and self.num_steps > num_trained:
            raise ValueError(
                f"num_steps is {self.num_steps}, but the policy was trained with {num_trained} steps; fewer can be "
                "taken, not more."
            )
        return num_trained if self.num_steps is None else self.num_steps

    def describe(self, num_trained: int) -> dict[str, Any]:
        """Return metadata of a chain that was trained with ``num_trained`` steps."""
        return {
            "num_denoise_steps": self.steps_of(num_trained),
            "num_trained_steps": num_trained,
            "score_scale": self.score_scale,
            "initial_latent": "zeros" if self.seed is None else f"normal, seed {self.seed}",
        }


WHOLE_CHAIN = ChainOptions()
"""All steps, unscaled, from zeros."""


def refuse_chain_options(options: ChainOptions, start: Tensor | None = None) -> None:
    """Refuse options of a chain for a policy that has none.

    Raises:
        ValueError: If one is given.
    """
    if options != WHOLE_CHAIN or start is not None:
        given = "an initial latent" if start is not None else str(options)
        raise ValueError(
            "A Gaussian policy acts by its mean, which has no score scale, no steps and no initial latent. Leave them "
            f"at their defaults; got {given}."
        )
