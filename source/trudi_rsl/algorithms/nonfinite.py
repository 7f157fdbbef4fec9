# SPDX-License-Identifier: BSD-3-Clause
"""Filtering NaN and infinity out of rollouts and updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from trudi_rsl.acceleration import Precision, network_precision
from trudi_rsl.algorithms.trust_region import from_trace, path_kl, step_sizes_of
from trudi_rsl.checkpoints.file import write_checkpoint
from trudi_rsl.environments.progress import reset_envs
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.policies.base import Decision, Policy
from trudi_rsl.storage import RolloutBuffer

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv


MIN_SHARE = 0.5
"""Share of a rollout's transitions that must be left to learn from it."""

QUANTITIES = ("observation", "action", "reward", "final observation")
"""What can be non-finite, in the order in which a step meets it."""


class Fault(NamedTuple):
    """The first non-finite number of a rollout, and how many environments have any."""

    quantity: str
    """One of :data:`QUANTITIES`."""
    env: int
    step: int
    envs: Tensor
    """Environments with any, long ``[F]``."""
    lost: Tensor
    """Those whose observation after the rollout is not finite, long: they have to be reset."""

    def __str__(self) -> str:
        """Say it in a sentence."""
        return (
            f"The simulator gave a non-finite {self.quantity} in environment {self.env} at step {self.step} of this "
            f"rollout ({len(self.envs)} environments affected)."
        )


def find_fault(storage: RolloutBuffer) -> Fault | None:
    """Return what is not finite in a rollout, None if nothing is; one read from the device then.

    An action counts where its observation was finite: it is the policy's own.
    """
    steps = storage.num_steps
    actions = ~storage.seen | (torch.isfinite(storage.actions).all(-1) & torch.isfinite(storage.log_probs))
    final = torch.ones_like(storage.rewarded)
    if storage.final_actor_obs is not None and storage.final_critic_obs is not None:
        ended = (storage.terminated | storage.truncated) & storage.has_final
        final = ~ended | (_finite(storage.final_actor_obs) & _finite(storage.final_critic_obs))
    # in order of time: the observations of step t, the policy's action, the reward, the final observation
    by_time = torch.stack([storage.seen[:steps], actions[:steps], storage.rewarded, final], dim=1).flatten(0, 1)
    bad = ~torch.cat([by_time, storage.seen[steps:], actions[steps:]])
    if not bad.any():
        return None
    row, env = (int(i) for i in bad.nonzero()[0])
    return Fault(
        QUANTITIES[row % 4],
        env,
        row // 4,
        envs=bad.any(0).nonzero().flatten(),
        lost=(~storage.seen[steps]).nonzero().flatten(),
    )


def leave_out_faults(storage: RolloutBuffer) -> bool:
    """Let only what is finite be learned from; call it before targets are computed.

    Where an observation was not finite, its row is not drawn for minibatches: others are, twice. Where a reward or what
    came after it was not, the row has no target and the rows before it bootstrap in front of it, as at a time limit
    without its last observation.

    Returns:
        Whether enough is left, see :data:`MIN_SHARE`.
    """
    next_seen = storage.seen[1:] | storage.terminated | storage.truncated
    if storage.final_actor_obs is not None and storage.final_critic_obs is not None:
        storage.has_final &= _finite(storage.final_actor_obs) & _finite(storage.final_critic_obs)
    cut = ~(storage.seen[:-1] & storage.rewarded & next_seen)
    storage.terminated &= ~cut
    storage.truncated |= cut
    storage.has_final &= ~cut
    rows = storage.seen[:-1].flatten().nonzero().flatten()
    if cut.float().mean() > 1.0 - MIN_SHARE:
        return False
    storage.rows = rows.repeat(-(-cut.numel() // len(rows)))[: cut.numel()]
    return True


def _finite(obs: Tensor) -> Tensor:
    return torch.isfinite(obs).all(-1)


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
            write_checkpoint({"cause": dict(cause), **content()}, path)
        except OSError as error:
            return f" What caused it could not be written: {error}."
        return f" What caused it is kept in {path}."


def _of_envs(storage: RolloutBuffer, envs: Tensor) -> dict[str, Tensor]:
    """Return what a rollout holds of some environments; observations are normalised, and 0 where not finite."""
    names = ("actor_obs", "critic_obs", "actions", "rewards", "terminated", "truncated", "seen", "rewarded")
    return {name: getattr(storage, name)[:, envs].cpu() for name in names}


REPLAY_TOLERANCE = 1e-5
"""Largest path KL, in nats, that a policy may have to itself."""


@torch.no_grad()
def raise_if_replay_differs(
    policy: Policy,
    obs: Tensor,
    sample: Callable[[Tensor, Tensor], Decision],
    precision: Precision,
) -> None:
    """Raise if a policy's KL to itself is not 0, as it is when its decisions are replayed in other batch shapes.

    For the measurement, the policy's last layer is one of order 1. Before the first update its own is near zero, and
    any product would pass.

    Args:
        policy: The actor; its weights are the same afterwards.
        obs: Normalised observations ``[B, O]``.
        sample: What collects rollouts with it, compiled or not.
        precision: Of its matrix products.

    Raises:
        RuntimeError: Saying what the usual cause is.
    """
    weight = policy.output_layer.weight
    own = weight.clone()
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(weight.shape, generator=generator) / weight.shape[1] ** 0.5
    noise = torch.randn(policy.num_draws, len(obs), policy.num_actions, generator=generator)
    try:
        weight.copy_(probe)
        decision = sample(obs, noise.to(obs))
        with network_precision(precision, obs.device.type):
            old = from_trace(decision.trace, step_sizes_of(policy))
            largest = path_kl(policy, obs, old).abs().max().item()
    finally:
        weight.copy_(own)
    # written so that NaN fails
    if not largest <= REPLAY_TOLERANCE:
        remedy = (
            "Products are not of the precision they were set to: after the simulator has started, call "
            "torch.set_float32_matmul_precision('highest'), or set algorithm.compile=off."
            if precision == "fp32"
            else "Use fp32."
        )
        raise RuntimeError(
            f"Replaying decisions changes the policy by {largest:.1e} nats (at most {REPLAY_TOLERANCE} is "
            f"right) with algorithm.precision={precision}, so the trust region would act on rounding. {remedy}"
        )
