# SPDX-License-Identifier: BSD-3-Clause
"""NaN and infinity in the steps of environments: locating them, and whether training goes on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from trudi_rsl.errors import NonFiniteError

WITHOUT_FURTHER_WARNINGS = "Such environments are reset, now and from here on without further warnings."


def describe_faults(
    task: str, number: int, num_envs: int, env: int, time: str, source: str = "the simulator returned"
) -> str:
    """Return a sentence on NaN or infinity in ``number`` environments, the first of them ``env``.

    Args:
        task: Task name.
        number: Environments with a fault.
        num_envs: All environments.
        env: Index of the first.
        time: Its time step, in words.
        source: What the numbers are from, and a verb.
    """
    where = f"{number} of {num_envs} environments, first in environment {env}"
    return f"{task}: {source} NaN or infinity in {where}, {time}."


def faulty_rows(*values: Tensor) -> Tensor:
    """Return the environments that have NaN or infinity in any of ``values`` ``[E, ...]``, bool ``[E]``."""
    finite = [torch.isfinite(value).reshape(len(value), -1).all(1) for value in values]
    return ~torch.stack(finite).all(0)


def require_finite(values: Tensor, what: str, task: str, time: Callable[[int], str]) -> None:
    """Raise a NonFiniteError that locates the first entry of ``values`` ``[E, ...]`` that is not finite.

    Args:
        values: Any tensor whose first axis is the environment; reading it forces a GPU sync.
        what: Name of the quantity in the message.
        task: Task name for the message.
        time: Maps the index of an environment to a description of its current time step.
    """
    bad = torch.nonzero(~torch.isfinite(values))
    if len(bad) == 0:
        return
    env, *entry = bad[0].tolist()
    raise NonFiniteError(f"{task}: {what}{entry or ''} is {values[(env, *entry)]} in environment {env}, {time(env)}.")


class RestartedFaults:
    """Decides whether a step with NaN or infinity ends training or restarts the environments that have it.

    Args:
        task: Task name for messages.
        time: Maps the index of an environment to a description of its current time step, for messages.
        stacklevel: Of the warning, so that it names the line that stepped: 3 if ``step`` calls :meth:`check`.
    """

    def __init__(self, task: str, time: Callable[[int], str], stacklevel: int = 3) -> None:
        self._task, self._time, self._stacklevel = task, time, stacklevel
        self._previous: tuple[int, Tensor] | None = None
        self._warned = False

    def check(self, faulty: Tensor, quantities: Iterable[tuple[str, Tensor]], step: int, restart: bool) -> None:
        """Return if the environments ``faulty`` ``[E]``, at least one, shall restart; warn the first time.

        Args:
            faulty: Result of :func:`faulty_rows`.
            quantities: Names and values ``[E, ...]`` in which the fault is located.
            step: Number of this step since the start.
            restart: Whether environments are to be restarted at all.

        Raises:
            NonFiniteError: ``restart`` is False, all environments are faulty, or one is faulty again in the first step
                after its restart.
        """
        again = self._previous is not None and self._previous[0] == step - 1
        repeated = again and bool((faulty & self._previous[1]).any())  # pyright: ignore[reportOptionalSubscript]
        if not restart or repeated or bool(faulty.all()):
            for what, values in quantities:
                require_finite(values, what, self._task, self._time)
        self._previous = (step, faulty)
        if not self._warned:
            self._warned = True
            first = int(torch.nonzero(faulty)[0])
            found = describe_faults(self._task, int(faulty.sum()), len(faulty), first, self._time(first))
            warnings.warn(f"{found} {WITHOUT_FURTHER_WARNINGS}", stacklevel=self._stacklevel)
