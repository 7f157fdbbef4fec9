# SPDX-License-Identifier: BSD-3-Clause
"""Naming what an environment returns from a step in another shape than RSL-RL defines or than it had before."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.errors import TaskError


class StepShapes:
    """Checks the shapes of E environments' steps; nothing is read from a device.

    Broadcasting would hide some of the faults: with ``dones`` of ``[E, 1]``, RSL-RL's log restarts the sums of
    environment 0 wherever an episode ends.

    Args:
        num_envs: Number of environments E.
        *groups: Names of the observation groups in use; without any, all groups are.
    """

    def __init__(self, num_envs: int, *groups: str) -> None:
        self._per_env = torch.Size([num_envs])
        self._names = dict.fromkeys(groups)
        self._groups: dict[str, torch.Size] = {}

    def start(self, obs: TensorDict) -> None:
        """Remember the shapes of the first observation groups, ``[E, ...]``, which all later ones must have."""
        if not self._groups:
            self._groups = {group: obs[group].shape for group in self._names or map(str, obs.keys())}

    def check(self, obs: Any, rewards: Tensor, dones: Tensor, step: int) -> None:
        """Check what an environment returned in a step of a rollout; ``rewards`` and ``dones`` are ``[E]``.

        If :meth:`start` was not called, the first observations are those that all later ones are compared with.

        Raises:
            TaskError: If a shape is another one.
        """
        for name, values in (("rewards", rewards), ("dones", dones)):
            if values.shape != self._per_env:
                raise _wrong(name, values.shape, self._per_env, step)
        if not self._groups and isinstance(obs, TensorDict):
            self.start(obs)
        for group, shape in self._groups.items():
            if isinstance(obs, TensorDict) and obs[group].shape != shape:
                raise _wrong(f"observations of the group {group!r}", obs[group].shape, shape, step)


def _wrong(what: str, shape: torch.Size, expected: torch.Size, step: int) -> TaskError:
    found, needed = (str(list(of)) for of in (shape, expected))
    return TaskError(f"The environment's step {step} of this rollout returned {what} of shape {found}, not {needed}.")
