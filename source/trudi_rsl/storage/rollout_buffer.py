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
    """Numbers of usable targets and next features ``[2]``, averaged over ranks; None in a single process."""


class BatchRows(NamedTuple):
    """Row indices of a minibatch."""

    rows: Tensor
    """Rows ``t E + e``, long ``[B]``."""
    counts: Tensor | None
    """:attr:`Minibatch.counts`."""


class RolloutBuffer:
    """One rollout of ``T`` steps in ``E`` environments.

    Everything is allocated here, because the runner collects under ``torch.inference_mode`` and tensors created there
    could not be used in the update. Observations, actions and log-probs have ``T + 1`` rows: the last one holds the
    bootstrap at the state after the rollout.

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
        """Whether the simulator's observations were finite; zeros are stored where they were not."""
        self.rewarded = torch.ones(t, e, dtype=torch.bool, device=device)
        """Whether the simulator's rewards were finite; 0 is stored where they were not."""
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
        """Rows ``t E + e`` to learn from, ``[T E]``, with repetitions in place of excluded rows; None for all."""
        self.step = 0

    def add_decision(
        self, actor_obs: Tensor, critic_obs: Tensor, decision: Decision, seen: Tensor | None = None
    ) -> None:
        """Write the observations and the decision of row ``step``.

        Args:
            actor_obs: Normalised and finite, ``[E, O]``.
            critic_obs: Likewise, ``[E, Oc]``.
            decision: The policy's, for these observations.
            seen: Bool ``[E]``, see :attr:`seen`; None for all.

        Raises:
            OverflowError: If the rollout is longer than the buffer.
        """
        if self.step > self.num_steps:
            raise OverflowError(f"The rollout buffer holds {self.num_steps} steps; call clear() before adding more.")
        self.actor_obs[self.step].copy_(actor_obs)
        if self.critic_obs is not self.actor_obs:
            self.critic_obs[self.step].copy_(critic_obs)
        if seen is not None:
            self.seen[self.step].copy_(seen)
        self.actions[self.step].copy_(decision.action)
        self.log_probs[self.step].copy_(decision.log_prob)
        if self.trace is not None and self.step < self.num_steps:
            self.trace[self.step].copy_(decision.trace.transpose(0, 1))

    def add_outcome(
        self, rewards: Tensor, terminated: Tensor, truncated: Tensor, rewarded: Tensor | None = None
    ) -> None:
        """Write the outcome of row ``step``, each ``[E]``, and move to the next row.

        Args:
            rewards: Finite.
            terminated: Bool, exclusive with ``truncated``.
            truncated: Bool.
            rewarded: Bool, see :attr:`rewarded`; None for all.
        """
        if rewarded is not None:
            self.rewarded[self.step].copy_(rewarded)
        self.rewards[self.step].copy_(rewards)
        self.terminated[self.step].copy_(terminated)
        self.truncated[self.step].copy_(truncated)
        self.step += 1

    def add_final_obs(self, actor_obs: Tensor, critic_obs: Tensor) -> None:
        """Store the raw final observations ``[E, O]`` of row ``step``; call before :meth:`add_outcome`.

        Only rows where an episode ended are read later. Memory is allocated on the first call, since many hosts provide
        no final observations.
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

        All have the same size; if it does not divide the number of rows, each epoch leaves out a few at random.

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

        Ranks have different numbers of usable rows, so a mean of the ranks' means would weight rows unequally.
        """
        if not torch.distributed.is_initialized():
            return None
        masks = torch.stack([self.target_valid.flatten()[batches], self.features_valid.flatten()[batches]], dim=-1)
        mean = all_reduce_mean(masks.sum(1).to(self.targets.dtype))
        return mean.clamp(min=1.0 / torch.distributed.get_world_size())
