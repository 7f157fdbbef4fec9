# SPDX-License-Identifier: BSD-3-Clause
"""Preallocated rollout storage on the training device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from trudi_rsl.distributed import all_reduce_mean
from trudi_rsl.policies.base import Decision


class Minibatch(NamedTuple):
    """Rows of the rollout drawn for one update, ``B`` of them."""

    actor_obs: Tensor
    """Normalised actor observations ``[B, O]``."""
    critic_obs: Tensor
    """Normalised critic observations ``[B, Oc]``."""
    actions: Tensor
    """Unit actions ``[B, A]``."""
    targets: Tensor
    """TD(lambda) targets ``[B]``."""
    next_features: Tensor
    """Critic features of the next pair ``[B, F]``."""
    target_valid: Tensor
    """Whether the target may be used, bool ``[B]``."""
    features_valid: Tensor
    """Whether the next features are those of the true next observation, bool ``[B]``."""
    trace: Tensor | None
    """Traces of the decisions ``[R, B, A]``, None unless they are stored."""
    counts: Tensor | None = None
    """Numbers of usable targets and next features ``[2]``, the means over several processes; None in a single one."""


class BatchRows(NamedTuple):
    """Which rows of the rollout make a minibatch."""

    rows: Tensor
    """Rows ``t E + e``, long ``[B]``."""
    counts: Tensor | None
    """:attr:`Minibatch.counts`."""


class RolloutBuffer:
    """One rollout of ``T`` steps in ``E`` environments.

    Everything is allocated here, because the runner collects under ``torch.inference_mode`` and a tensor created
    there could not be used in the update. Observations, actions and log-probs have ``T + 1`` rows: the last one holds
    the bootstrap at the state after the rollout.

    Args:
        num_steps: Rollout length ``T``.
        num_envs: Number of environments ``E``.
        num_actor_obs: Actor observation dimension ``O``.
        num_critic_obs: Critic observation dimension ``Oc``; None when the critic sees the actor's observations.
        num_actions: Action dimension ``A``.
        feature_dim: Width ``F`` of the critic's features.
        trace_length: Rows ``R`` of the policy's traces, ``R A`` floats per transition; 0 stores none.
        device: Training device.
    """

    def __init__(
        self,
        num_steps: int,
        num_envs: int,
        num_actor_obs: int,
        num_critic_obs: int | None,
        num_actions: int,
        feature_dim: int,
        trace_length: int,
        device: torch.device | str,
    ) -> None:
        t, e = num_steps, num_envs
        self.num_steps, self.num_envs, self.device = t, e, torch.device(device)
        self.actor_obs = torch.zeros(t + 1, e, num_actor_obs, device=device)
        self.critic_obs = (
            self.actor_obs if num_critic_obs is None else torch.zeros(t + 1, e, num_critic_obs, device=device)
        )
        self.actions = torch.zeros(t + 1, e, num_actions, device=device)
        self.log_probs = torch.zeros(t + 1, e, device=device)
        self.rewards = torch.zeros(t, e, device=device)
        self.seen = torch.ones(t + 1, e, dtype=torch.bool, device=device)
        """Whether the observations are the simulator's: False where those were not finite, and zeros stand for them."""
        self.rewarded = torch.ones(t, e, dtype=torch.bool, device=device)
        """Whether the rewards are the simulator's: False where those were not finite, and 0 stands for them."""
        self.terminated = torch.zeros(t, e, dtype=torch.bool, device=device)
        self.truncated = torch.zeros(t, e, dtype=torch.bool, device=device)
        self.targets = torch.zeros(t, e, device=device)
        self.next_features = torch.zeros(t, e, feature_dim, device=device)
        self.target_valid = torch.ones(t, e, dtype=torch.bool, device=device)
        self.features_valid = torch.ones(t, e, dtype=torch.bool, device=device)
        self.trace = torch.zeros(t, e, trace_length, num_actions, device=device) if trace_length else None
        self.final_actor_obs: Tensor | None = None
        self.final_critic_obs: Tensor | None = None
        self.has_final = torch.zeros(t, e, dtype=torch.bool, device=device)
        self.rows: Tensor | None = None
        """Rows ``t E + e`` to learn from, ``[T E]``, some of them twice where others are left out; None for all."""
        self.step = 0

    def add_decision(
        self, actor_obs: Tensor, critic_obs: Tensor, decision: Decision, seen: Tensor | None = None
    ) -> None:
        """Write row ``step``: what the policy saw, ``[E, O]``, and what it decided.

        Args:
            actor_obs: Normalised, finite.
            critic_obs: Likewise.
            decision: Of the policy.
            seen: ``[E]``, see :attr:`seen`; None for all.

        Raises:
            OverflowError: If the rollout is longer than the buffer.
        """
        if self.step > self.num_steps:
            raise OverflowError(f"The rollout buffer holds {self.num_steps} steps; call clear() before collecting on.")
        self.actor_obs[self.step].copy_(actor_obs)
        if self.critic_obs is not self.actor_obs:
            self.critic_obs[self.step].copy_(critic_obs)
        if seen is not None:
            self.seen[self.step].copy_(seen)
        self.actions[self.step].copy_(decision.action)
        self.log_probs[self.step].copy_(decision.log_prob)
        if self.trace is not None and self.step < self.num_steps:
            self.trace[self.step].copy_(decision.trace.transpose(0, 1))

    def add_outcome(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Write what the simulator answered, each ``[E]``, and move to the next row; rewards may be non-finite."""
        self.rewarded[self.step].copy_(torch.isfinite(rewards))
        self.rewards[self.step].copy_(rewards.nan_to_num(0.0, 0.0, 0.0))
        self.terminated[self.step].copy_(terminated)
        self.truncated[self.step].copy_(truncated)
        self.step += 1

    def add_final_obs(self, actor_obs: Tensor, critic_obs: Tensor) -> None:
        """Keep the raw final observations ``[E, O]`` of the current row; call before :meth:`add_outcome`.

        Only the rows of episodes that ended are read later. The memory is taken on the first call, since many hosts
        give no final observations.
        """
        if self.final_actor_obs is None:
            with torch.inference_mode(False):
                shape = (self.num_steps, self.num_envs)
                self.final_actor_obs = torch.zeros(*shape, actor_obs.shape[-1], device=self.device)
                separate = self.critic_obs is not self.actor_obs
                self.final_critic_obs = (
                    torch.zeros(*shape, critic_obs.shape[-1], device=self.device) if separate else self.final_actor_obs
                )
        self.final_actor_obs[self.step].copy_(actor_obs)
        if self.final_critic_obs is not None and self.final_critic_obs is not self.final_actor_obs:
            self.final_critic_obs[self.step].copy_(critic_obs)
        self.has_final[self.step].fill_(True)

    def clear(self) -> None:
        """Start the next rollout."""
        self.step = 0
        self.rows = None
        self.has_final.fill_(False)

    def index_batches(self, num_epochs: int, num_minibatches: int) -> Iterator[BatchRows]:
        """Yield the rows of ``num_epochs * num_minibatches`` batches, each epoch a fresh permutation of all rows.

        All have the same size; where it does not divide the rows, each epoch leaves out a few, other ones each time.

        Raises:
            ValueError: If there are fewer rows than minibatches.
        """
        rows = self.num_steps * self.num_envs
        if num_minibatches > rows:
            raise ValueError(f"{rows} transitions can't make {num_minibatches} minibatches; lower num_mini_batches.")
        size = rows // num_minibatches
        for _ in range(num_epochs):
            order = torch.randperm(rows, device=self.device)
            if self.rows is not None:
                order = self.rows[order]
            batches = order[: num_minibatches * size].view(num_minibatches, size)
            counts = self._counts(batches)
            for i in range(num_minibatches):
                yield BatchRows(batches[i], None if counts is None else counts[i])

    def minibatch(self, batch: BatchRows) -> Minibatch:
        """Return the transitions of some rows."""

        def flat(x: Tensor) -> Tensor:
            return x[: self.num_steps].flatten(0, 1)[batch.rows]

        actor_obs = flat(self.actor_obs)
        return Minibatch(
            actor_obs=actor_obs,
            critic_obs=actor_obs if self.critic_obs is self.actor_obs else flat(self.critic_obs),
            actions=flat(self.actions),
            targets=flat(self.targets),
            next_features=flat(self.next_features),
            target_valid=flat(self.target_valid),
            features_valid=flat(self.features_valid),
            trace=None if self.trace is None else flat(self.trace).transpose(0, 1),
            counts=batch.counts,
        )

    def minibatches(self, num_epochs: int, num_minibatches: int) -> Iterator[Minibatch]:
        """Yield the transitions of :meth:`index_batches`."""
        return map(self.minibatch, self.index_batches(num_epochs, num_minibatches))

    def _counts(self, batches: Tensor) -> Tensor | None:
        """Return :attr:`Minibatch.counts` ``[M, 2]`` of the batches with rows ``[M, B]``.

        Usable rows are more in one process than in another, so that a mean of the processes' means would weigh those of
        the former less.
        """
        if not torch.distributed.is_initialized():
            return None
        masks = torch.stack([self.target_valid.flatten()[batches], self.features_valid.flatten()[batches]], dim=-1)
        mean = all_reduce_mean(masks.sum(1).to(self.targets.dtype))
        return mean.clamp(min=1.0 / torch.distributed.get_world_size())
