# SPDX-License-Identifier: BSD-3-Clause
"""What a deployed policy reads and sets, as the metadata of its ONNX file tells it. Needs numpy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class ContractError(ValueError):
    """An exported policy that does not tell what it reads, or observations that are not what it reads."""


@dataclass(frozen=True)
class ObservationTerm:
    """One part of the observation."""

    name: str
    size: int
    """Numbers of one frame."""
    history: int = 1
    """Frames that the policy sees, the oldest first."""
    scale: float | tuple[float, ...] = 1.0
    """What a frame is multiplied with before the policy sees it."""

    @property
    def total(self) -> int:
        """Numbers in the observation."""
        return self.size * self.history


@dataclass(frozen=True)
class Contract:
    """What a policy reads and sets."""

    task: str
    algorithm: str
    terms: tuple[ObservationTerm, ...]
    """The observation, in order."""
    action_low: Array | None
    """Bounds of the actions ``[A]``; None where the policy has none."""
    action_high: Array | None
    obs_mean: Array | None
    """Statistics of the observations in training ``[O]``, scaled as the policy sees them; None if unknown."""
    obs_std: Array | None
    control_period_s: float | None
    """Seconds from one action to the next in training."""

    @property
    def num_obs(self) -> int:
        """Size ``O`` of the observation."""
        return sum(term.total for term in self.terms)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Contract:
        """Read the entries of an ONNX file.

        Raises:
            ContractError: If it does not tell the observation, or an entry is not what it should be.
        """
        values = {name: _value(text) for name, text in metadata.items()}
        if "obs_dims" not in values:
            raise ContractError(
                "The file does not tell which observations its policy reads (no obs_dims in its metadata). Export the "
                "checkpoint again with scripts/export.py."
            )
        try:
            terms = values.get("obs_terms") or [{"name": n, "size": s} for n, s in values["obs_dims"].items()]
            return cls(
                task=str(values.get("task", "")),
                algorithm=str(values.get("algorithm", "")),
                terms=tuple(_term(**term) for term in terms),
                action_low=_array(values.get("action_low")),
                action_high=_array(values.get("action_high")),
                obs_mean=_array(values.get("obs_mean")),
                obs_std=_array(values.get("obs_std")),
                control_period_s=values.get("control_period_s"),
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise ContractError(f"The file's metadata cannot be read: {error}.") from error


def _term(name: str, size: int, history: int = 1, scale: float | list[float] = 1.0) -> ObservationTerm:
    if size < 1 or history < 1 or (isinstance(scale, list) and len(scale) != size):
        raise ValueError(f"observation term {name!r} of size {size}, history {history} and scale {scale}")
    return ObservationTerm(name, int(size), int(history), tuple(scale) if isinstance(scale, list) else float(scale))


def _array(values: list[float] | None) -> Array | None:
    return None if values is None else np.asarray(values, np.float32)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
