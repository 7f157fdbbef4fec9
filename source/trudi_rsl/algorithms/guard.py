# SPDX-License-Identifier: BSD-3-Clause
"""Learning from nothing that is not finite: updates are skipped, counted, and what caused it is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trudi_rsl.algorithms.faults import Fault, find_fault, leave_out_faults
from trudi_rsl.algorithms.whole_file import save_whole
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.rsl_rl_compat.resets import reset_envs
from trudi_rsl.storage import RolloutBuffer

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

Content = Callable[[], Mapping[str, Any]]
"""Gives a checkpoint's content."""

LOOK_AT_THE_TASK = "Look for a division by zero or an exploding contact in the task; the last checkpoint is sound."
LOWER_THE_RATE = "Resume from an earlier checkpoint with a lower agent.algorithm.learning_rate or max_grad_norm."

MAX_FILES = 3
"""Files that a training writes at most, each of a checkpoint's size and a minibatch's."""


class UpdateGuard:
    """Decides what can be learned from, and counts the iterations in which something could not.

    Args:
        max_in_a_row: So many iterations in a row without their whole update stop training, at least 1.
    """

    def __init__(self, max_in_a_row: int) -> None:
        self.max_in_a_row = max_in_a_row
        self.folder: Path | None = None
        """Where what caused them is kept; None keeps nothing."""
        self.in_a_row = 0
        self._files = 0
        self._told = False

    def mend(self, storage: RolloutBuffer, env: VecEnv | None, content: Content) -> tuple[bool, int]:
        """Leave what is not finite out of a rollout, and reset the environments that are still so after it.

        Args:
            storage: A full rollout, whose targets are not computed yet.
            env: Where it comes from.
            content: Called if the update is skipped.

        Returns:
            Whether enough is left to learn from, and how many environments were affected.

        Raises:
            NonFiniteError: If the policy gave the numbers itself, the host cannot reset single environments, or too
                many iterations in a row could not be learned from.
        """
        fault = find_fault(storage)
        if fault is None:
            return True, 0
        if fault.quantity == "action":
            raise NonFiniteError(
                f"The policy gave a non-finite action in environment {fault.env} at step {fault.step} of this rollout, "
                f"for finite observations: its weights are damaged. {LOWER_THE_RATE}"
            )
        if len(fault.lost) and not reset_envs(env, fault.lost):
            raise NonFiniteError(
                f"{fault} Nothing was learned from the rollout, and the simulator cannot reset single environments. "
                f"{LOOK_AT_THE_TASK}"
            )
        if leave_out_faults(storage):
            self._tell_of_masks(fault)
            return True, len(fault.envs)
        self.skipped(str(fault), LOOK_AT_THE_TASK, {"rollout": _of_envs(storage, fault.envs)}, content)
        return False, len(fault.envs)

    def learned(
        self, metrics: Sequence[Mapping[str, Tensor]], weights: Tensor, batch: Callable[[int], Any], content: Content
    ) -> None:
        """Look back at the minibatches of an iteration; one read from the device where all went well.

        Args:
            metrics: Of each minibatch, as ``PathwiseLearner.update`` returns them.
            weights: Norm of all parameters after the last one, scalar.
            batch: Returns the transitions of the minibatch of that number.
            content: Called if learning ended before the last minibatch.

        Raises:
            NonFiniteError: If parameters are not finite, or too many iterations in a row could not be learned from.
        """
        skipped, norm = torch.stack([metrics[-1]["skipped_max"], weights]).tolist()
        if not math.isfinite(norm):
            raise NonFiniteError(f"An update made the weights non-finite. {LOWER_THE_RATE}")
        if not skipped:
            self.in_a_row = 0
            return
        first = next(i for i, values in enumerate(metrics) if values["skipped_max"].item())
        bad = sorted(name for name, value in metrics[first].items() if not torch.isfinite(value))
        reason = f"Minibatch {first + 1} of {len(metrics)} gave a non-finite gradient ({', '.join(bad)})."
        remedy = f"See which of the minibatch's values are out of proportion. {LOWER_THE_RATE}"
        self.skipped(reason, remedy, {"minibatch": batch(first)._asdict(), "not_finite": bad}, content)

    def skipped(self, reason: str, remedy: str, cause: Mapping[str, Any], content: Content) -> None:
        """Note an update that was not made, or not to its end.

        Args:
            reason: A sentence.
            remedy: A sentence: what to do if it goes on.
            cause: What could not be learned from: tensors and plain values.
            content: Called for what else is kept.

        Raises:
            NonFiniteError: If these are too many in a row.
        """
        self.in_a_row += 1
        kept = self._keep(cause, content)
        if self.in_a_row >= self.max_in_a_row:
            raise NonFiniteError(
                f"{reason} Training stops, since {self.in_a_row} iterations in a row could not be learned from "
                f"(agent.algorithm.max_skipped_updates). {remedy}{kept}"
            )
        print(f"[trudi_rsl] {reason} Nothing more is learned in this iteration.{kept}", flush=True)

    def _tell_of_masks(self, fault: Fault) -> None:
        if not self._told:
            self._told = True
            print(
                f"[trudi_rsl] {fault} Training goes on without those transitions; Loss/nonfinite_envs counts the "
                "environments from now on.",
                flush=True,
            )

    def _keep(self, cause: Mapping[str, Any], content: Content) -> str:
        """Write both to the run folder and return a sentence on that, if any."""
        if self.folder is None or self._files >= MAX_FILES:
            return ""
        self._files += 1
        number = 1
        while (path := self.folder / f"skipped_update_{number}.pt").exists():
            number += 1
        try:
            save_whole({"cause": dict(cause), **content()}, path)
        except OSError as error:
            return f" What caused it could not be written: {error}."
        return f" What caused it is kept in {path}."


def _of_envs(storage: RolloutBuffer, envs: Tensor) -> dict[str, Tensor]:
    """Return what a rollout holds of some environments; observations are normalised, and 0 where not finite."""
    names = ("actor_obs", "critic_obs", "actions", "rewards", "terminated", "truncated", "seen", "rewarded")
    return {name: getattr(storage, name)[:, envs].cpu() for name in names}
