# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's check for NaN, read once per rollout: its own forces a GPU sync for every tensor of every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms.policy_gradient import PolicyGradient


class NaNCheck:
    """Looks for NaN in what the environments return, and keeps it from normalisers and storage until it is reported.

    The rollout goes on with 0 in place of NaN, and nothing may be learned from it; so the policy that a rescue saves is
    that of the iteration before, and the normalisers' statistics are finite.

    Args:
        enabled: False looks for nothing.
    """

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._names: Sequence[str] = ()
        self._found: list[Tensor] = []

    def filter(self, obs: TensorDict, rewards: Tensor, dones: Tensor) -> tuple[TensorDict, Tensor, Tensor]:
        """Return a step's observation groups ``[E, ...]``, rewards and dones ``[E]`` with 0 in place of NaN."""
        if not self._enabled:
            return obs, rewards, dones
        tensors: dict[str, Any] = {str(name): x for name, x in obs.items()} | {"rewards": rewards, "dones": dones}
        can_be_nan = {name: x for name, x in tensors.items() if x.is_floating_point()}
        nan = {name: torch.isnan(x) for name, x in can_be_nan.items()}
        self._names = tuple(nan)
        self._found.append(torch.stack([where.any() for where in nan.values()]))
        finite = {name: x.masked_fill(nan[name], 0.0) for name, x in can_be_nan.items()}
        groups = {name: finite.get(str(name), x) for name, x in obs.items()}
        obs = TensorDict(groups, batch_size=obs.batch_size, device=obs.device)  # pyright: ignore[reportArgumentType]
        return obs, finite.get("rewards", rewards), finite.get("dones", dones)

    def end_rollout(self, algorithm: Any) -> None:
        """Let an algorithm skip the update if there was NaN; one that cannot do that on the device raises here.

        Raises:
            ValueError: See :meth:`report`.
        """
        if isinstance(algorithm, PolicyGradient) and self._found:
            algorithm.veto = torch.stack(self._found).any()
        else:
            self.report()

    def report(self) -> None:
        """Raise if there was NaN since the last report; this is a GPU sync.

        Raises:
            ValueError: Naming the step of the rollout, and the observation group, the rewards or the dones.
        """
        if not self._found:
            return
        steps, self._found = torch.stack(self._found).tolist(), []
        for step, found in enumerate(steps):
            for name, is_nan in zip(self._names, found, strict=True):
                if is_nan:
                    what = {"rewards": "rewards", "dones": "dones"}.get(name, f"observation group {name!r}")
                    verb = "contains" if what.startswith("observation") else "contain"
                    raise ValueError(
                        f"The {what} returned by the environments {verb} NaN at step {step} of the rollout, from which "
                        "nothing was learned. Look for a division by zero or an exploding contact in the task."
                    )
