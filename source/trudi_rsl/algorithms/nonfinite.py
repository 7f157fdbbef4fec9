# SPDX-License-Identifier: BSD-3-Clause
"""Filtering NaN and infinity out of training.

The rule of where: values are filtered where they enter the storage, and the host reads once per iteration what was
found.

1. ``TruDi.act`` calls :func:`filter_nonfinite` on observations, and the rollout buffer filters rewards; both store the
   masks of finite rows. (The normaliser excludes non-finite rows from its statistics by itself.)
2. ``TruDi.compute_returns`` calls :meth:`UpdateGuard.filter_rollout` before any target is computed. All steps after a
   rollout that must not be learned from, or after a non-finite gradient, are skipped on the device
   (``Learner.skips``), so that nothing is read on the host.
3. ``TruDi.update`` reads what was found after the last minibatch, and calls :meth:`UpdateGuard.check_rollout` and
   :meth:`UpdateGuard.check_updates`. PPO's relatives call :meth:`UpdateGuard.record_skip`.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rsl_rl.env import VecEnv
from torch import Tensor

from trudi_rsl.checkpoints.file import write_checkpoint
from trudi_rsl.environments.progress import partial_reset
from trudi_rsl.errors import NonFiniteError, setting
from trudi_rsl.storage import RolloutBuffer, repeat_kept

logger = logging.getLogger(__name__)

MIN_SHARE = 0.5
"""Smallest share of a rollout's transitions to learn from."""

QUANTITIES = ("observation", "action", "reward", "final observation")
"""Quantities that can be non-finite, in the order in which a step produces them."""

MAX_FILES = 3
"""Largest number of files with skipped updates per training, each the size of a checkpoint and a minibatch."""

INSPECT_TASK = "Look for a division by zero or an exploding contact in the task; the last checkpoint is sound."


def lower_learning_rate() -> str:
    """Return a sentence that advises to train with a smaller step size."""
    lower = setting("algorithm.learning_rate")
    return f"Resume from an earlier checkpoint with a lower {lower} or max_grad_norm."


def filter_nonfinite(*tensors: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the tensors ``[E, ...]`` with 0 in rows where any is not finite, and the mask of finite rows ``[E]``."""
    # 0 x is 0 for finite numbers and NaN for others, in half as many kernels as isfinite
    by_row = ((0 * x).flatten(1).sum(1) if x.ndim > 1 else 0 * x for x in tensors)
    faulty = functools.reduce(torch.add, by_row).ne(0)
    masks = (faulty.view(-1, *[1] * (x.ndim - 1)) for x in tensors)
    return tuple(x.masked_fill(mask, 0.0) for x, mask in zip(tensors, masks, strict=True)), ~faulty


class NonFinite(NamedTuple):
    """The first non-finite number of a rollout, and the environments that have any."""

    quantity: str
    """One of :data:`QUANTITIES`."""
    env: int
    step: int
    envs: Tensor
    """Affected environments, long ``[F]``."""
    lost: Tensor
    """Those whose observation after the rollout is not finite, which must be reset, long."""

    def __str__(self) -> str:
        """Describe it in a sentence."""
        return (
            f"The simulator returned a non-finite {self.quantity} in environment {self.env} at step {self.step} of "
            f"this rollout ({len(self.envs)} environments affected)."
        )


def nonfinite_numbers(storage: RolloutBuffer) -> Tensor:
    """Return where a full rollout has non-finite numbers, bool ``[4 T + 2, E]`` in order of time.

    Row ``4 t + i`` is :data:`QUANTITIES` ``[i]`` of step ``t``; the last two are the observation after the rollout and
    the action there. An action counts only where its observation was finite, since it is then the policy's fault.
    """
    steps = storage.num_steps
    actions = ~storage.seen | (torch.isfinite(storage.actions).all(-1) & torch.isfinite(storage.log_probs))
    ended = (storage.terminated | storage.truncated) & storage.has_final
    final = ~ended | _finite_final_obs(storage)
    by_time = torch.stack([storage.seen[:steps], actions[:steps], storage.rewarded, final], dim=1).flatten(0, 1)
    return ~torch.cat([by_time, storage.seen[steps:], actions[steps:]])


def first_nonfinite(numbers: Tensor) -> NonFinite | None:
    """Return the first of :func:`nonfinite_numbers`, None if there is none; reads them on the host."""
    if not numbers.any():
        return None
    row, env = (int(i) for i in numbers.nonzero()[0])
    affected, lost = numbers.any(0).nonzero().flatten(), numbers[-2].nonzero().flatten()
    return NonFinite(QUANTITIES[row % 4], env, row // 4, affected, lost)


def mask_nonfinite(storage: RolloutBuffer) -> Tensor:
    """Exclude non-finite transitions from learning; return whether :data:`MIN_SHARE` of them is left, bool scalar.

    Call it before targets are computed. A row with a non-finite observation is not drawn for minibatches; finite rows
    are drawn twice instead. A row with a non-finite reward or successor has no target, and the rows before it bootstrap
    in front of it, as at a time limit without a final observation.
    """
    next_seen = storage.seen[1:] | storage.terminated | storage.truncated
    storage.has_final &= _finite_final_obs(storage)
    cut = ~(storage.seen[:-1] & storage.rewarded & next_seen)
    storage.terminated &= ~cut
    storage.truncated |= cut
    storage.has_final &= ~cut
    storage.rows = repeat_kept(storage.seen[:-1].flatten())
    return cut.float().mean() <= 1.0 - MIN_SHARE


def _finite_final_obs(storage: RolloutBuffer) -> Tensor:
    """Return where the final observations are finite, bool ``[T, E]``; True everywhere if none are stored."""
    if storage.final_actor_obs is None or storage.final_critic_obs is None:
        return torch.ones_like(storage.rewarded)
    vectors = torch.isfinite(storage.final_actor_obs).all(-1) & torch.isfinite(storage.final_critic_obs).all(-1)
    images = [torch.isfinite(x).flatten(2).all(-1) for x in storage.final_images.values() if x.is_floating_point()]
    return torch.stack([vectors, *images]).all(0) if images else vectors


class RolloutFaults(NamedTuple):
    """What is non-finite in a rollout; tensors on the device."""

    numbers: Tensor
    """:func:`nonfinite_numbers`."""
    num_envs: Tensor
    """Number of affected environments, scalar."""
    enough: Tensor
    """Whether enough transitions are left to learn from, bool scalar."""
    veto: Tensor
    """Whether nothing may be learned from the rollout, bool scalar."""


Content = Callable[[], Mapping[str, Any]]
"""Returns a checkpoint's content."""


class UpdateGuard:
    """Excludes non-finite numbers from learning, and stops training if too many updates are skipped.

    ``max_in_a_row`` is the number of consecutive iterations with a skipped update that stops training, at least 1.
    """

    def __init__(self, max_in_a_row: int) -> None:
        self.max_in_a_row = max_in_a_row
        self.folder: Path | None = None
        """Folder for the data that caused skipped updates; None writes none."""
        self.in_a_row = 0
        self._files = 0
        self._warned = False

    def filter_rollout(self, storage: RolloutBuffer, env: VecEnv | None) -> RolloutFaults:
        """Exclude non-finite transitions of a full rollout from learning, without a GPU sync.

        Call it before targets are computed, and :meth:`check_rollout` after the update.
        """
        numbers = nonfinite_numbers(storage)
        enough = mask_nonfinite(storage)
        rows = torch.arange(len(numbers), device=numbers.device)
        first = torch.where(numbers.any(1), rows, len(rows)).min()
        is_action = (first < len(rows)) & (first % len(QUANTITIES) == QUANTITIES.index("action"))
        is_lost = numbers[-2].any() & (partial_reset(env) is None)
        return RolloutFaults(numbers, numbers.any(0).sum(), enough, ~enough | is_action | is_lost)

    def check_rollout(
        self, faults: RolloutFaults, enough: bool, storage: RolloutBuffer, env: VecEnv | None, content: Content
    ) -> None:
        """Report a rollout with ``faults.num_envs > 0``, and reset environments that are non-finite at its end.

        ``enough`` is the value of ``faults.enough``; ``content`` is called if it is False.

        Raises:
            NonFiniteError: If the policy's own actions are not finite, the host cannot reset single environments, or
                too many updates in a row were skipped.
        """
        found = first_nonfinite(faults.numbers)
        assert found is not None
        if found.quantity == "action":
            raise NonFiniteError(
                f"The policy returned a non-finite action in environment {found.env} at step {found.step} of this "
                f"rollout, for finite observations: its weights are damaged. {lower_learning_rate()}"
            )
        if len(found.lost):
            reset = partial_reset(env)
            if reset is None:
                raise NonFiniteError(
                    f"{found} Nothing was learned from the rollout, and the simulator cannot reset single "
                    f"environments. {INSPECT_TASK}"
                )
            reset(found.lost)
        if not enough:
            self.record_skip(str(found), INSPECT_TASK, {"rollout": _rows_of_envs(storage, found.envs)}, content)
        elif not self._warned:
            self._warned = True
            counted = "nonfinite_envs in the log counts the environments from now on"
            logger.warning("%s Training continues without those transitions; %s.", found, counted)

    def check_updates(
        self,
        skipped: bool,
        weights: float,
        metrics: Sequence[Mapping[str, Tensor]],
        batch: Callable[[int], Any],
        content: Content,
    ) -> None:
        """Check the minibatches of an iteration.

        ``skipped`` is whether any was skipped, ``weights`` the norm of all parameters after the last update,
        ``metrics`` are those that ``Learner.update`` returned. For a skipped update, ``batch`` returns a minibatch by
        its index, ``content`` the checkpoint.

        Raises:
            NonFiniteError: If parameters are not finite, or too many updates in a row were skipped.
        """
        if not math.isfinite(weights):
            raise NonFiniteError(f"An update made the weights non-finite. {lower_learning_rate()}")
        if not skipped:
            self.in_a_row = 0
            return
        first = next(i for i, values in enumerate(metrics) if values["skipped_updates"].item())
        bad = sorted(name for name, value in metrics[first].items() if not torch.isfinite(value))
        reason = f"Minibatch {first + 1} of {len(metrics)} gave a non-finite gradient ({', '.join(bad)})."
        remedy = f"See which of the minibatch's values are out of proportion. {lower_learning_rate()}"
        self.record_skip(reason, remedy, {"minibatch": batch(first)._asdict(), "not_finite": bad}, content)

    def record_skip(self, reason: str, remedy: str, cause: Mapping[str, Any], content: Content) -> None:
        """Count an update that was skipped, entirely or from some minibatch on, and write its cause to the run folder.

        ``reason`` and ``remedy`` are sentences for warning and error, ``cause`` is the data that could not be learned
        from (tensors and plain values), and ``content`` returns the checkpoint that is written beside it.

        Raises:
            NonFiniteError: If too many updates in a row were skipped.
        """
        self.in_a_row += 1
        written = self._write(cause, content)
        if self.in_a_row >= self.max_in_a_row:
            raise NonFiniteError(
                f"{reason} Training stops, since {self.in_a_row} iterations in a row could not be learned from "
                f"({setting('algorithm.max_skipped_updates')}). {remedy}{written}"
            )
        logger.warning("%s Nothing more is learned in this iteration.%s", reason, written)

    def _write(self, cause: Mapping[str, Any], content: Content) -> str:
        """Write both to the run folder and return a sentence about it, empty if nothing is written."""
        if self.folder is None or self._files >= MAX_FILES:
            return ""
        self._files += 1
        number = 1
        while (path := self.folder / f"skipped_update_{number}.pt").exists():
            number += 1
        try:
            write_checkpoint({"cause": dict(cause), **content()}, path)
        except OSError as error:
            return f" Its cause could not be written: {error}."
        return f" Its cause is kept in {path}."


def _rows_of_envs(storage: RolloutBuffer, envs: Tensor) -> dict[str, Tensor]:
    """Return the rollout of some environments; observations are normalised, and 0 where not finite."""
    names = ("actor_obs", "critic_obs", "actions", "rewards", "terminated", "truncated", "seen", "rewarded")
    return {name: getattr(storage, name)[:, envs].cpu() for name in names}
