# SPDX-License-Identifier: BSD-3-Clause
"""NaN and infinity in a rollout: where they are, and learning from the rest."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trudi_rsl.storage import RolloutBuffer

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
