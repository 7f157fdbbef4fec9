# SPDX-License-Identifier: BSD-3-Clause
"""Assembling a policy's observation from its terms. Needs only numpy."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from trudi_rsl.deploy.contract import Array, ContractError, ObservationTerm
from trudi_rsl.errors import nearest


class ObservationBuilder:
    """Clips and scales the terms of an observation, keeps their histories and concatenates them in order.

    Args:
        terms: The policy's observation terms, in order.
    """

    def __init__(self, terms: Sequence[ObservationTerm]) -> None:
        self._terms = {term.name: term for term in terms}
        self._histories: dict[str, deque[Array]] = {}
        self._latest: dict[str, Array] = {}
        self.reset()

    def reset(self) -> None:
        """Clear the histories; the next frame fills them."""
        self._histories = {name: deque(maxlen=term.history) for name, term in self._terms.items()}

    def build(self, values: Mapping[str, ArrayLike]) -> Array:
        """Return the observation ``[O]`` with the given frame as the newest, without changing the histories.

        Args:
            values: One unscaled frame per term, by name.

        Raises:
            ContractError: If a term is missing, unknown or of the wrong size.
        """
        frames = {name: self._frame(term, values) for name, term in self._terms.items()}
        for name in values:
            if name not in self._terms:
                raise ContractError(f"Unknown observation term {name!r}. {nearest(name, self._terms)}")
        self._latest = frames
        return np.concatenate([np.concatenate(self._with(name, frame)) for name, frame in frames.items()])

    def keep(self) -> None:
        """Append the frame of the last :meth:`build` to the histories."""
        for name, frame in self._latest.items():
            self._histories[name].extend(self._with(name, frame))

    def repeat(self) -> None:
        """Append the newest frame of the histories once more, in place of an unusable one."""
        for history in self._histories.values():
            history.extend(list(history)[-1:])

    def _with(self, name: str, frame: Array) -> list[Array]:
        """Return the frames of a term, with ``frame`` as the newest."""
        length = self._terms[name].history
        return ([*self._histories[name], frame] if self._histories[name] else [frame] * length)[-length:]

    def _frame(self, term: ObservationTerm, values: Mapping[str, ArrayLike]) -> Array:
        if term.name not in values:
            raise ContractError(
                f"The observation term {term.name!r} is missing; the policy reads {', '.join(self._terms)}."
            )
        frame = np.asarray(values[term.name], np.float32).reshape(-1)
        if len(frame) != term.size:
            raise ContractError(f"The observation term {term.name!r} has {len(frame)} numbers instead of {term.size}.")
        if term.clip is not None:
            frame = np.clip(frame, *term.clip)
        return frame * np.asarray(term.scale, np.float32)
