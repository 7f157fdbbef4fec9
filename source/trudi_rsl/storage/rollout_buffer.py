# SPDX-License-Identifier: BSD-3-Clause
"""Preallocated rollout storage on the training device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from trudi_rsl.distributed import all_reduce_mean
from trudi_rsl.errors import ConfigError, setting
from trudi_rsl.policies.base import Decision
from trudi_rsl.policies.recurrent import PaddedSequences
from trudi_rsl.storage.sequences import SequenceStorage, Trajectories

NEXT_FEATURES_DTYPE = torch.bfloat16
"""Type in which next features are stored: they are targets of a regression, whose errors are far above its rounding."""


class Minibatch(NamedTuple):
    """Rows of the rollout drawn for one update, ``B`` of them."""

    actor_obs: Tensor
    """Normalised actor observations ``[B, O]``, or the latents of a recurrent encoder at the time of the rollout."""
    critic_obs: Tensor
    """The critic's ``[B, Oc]``."""
    actions: Tensor
    """Unit actions ``[B, A]``."""
    targets: Tensor
    """TD(lambda) targets ``[B]``."""
    next_features: Tensor
    """Critic features of the next pair ``[B, F]``, bfloat16."""
    target_valid: Tensor
    """Whether the target may be used, bool ``[B]``."""
    features_valid: Tensor
    """Whether the next features are those of the true next observation, bool ``[B]``."""
    trace: Tensor | None
    """Traces of the decisions ``[R, B, A]``, None unless they are stored."""
    counts: Tensor | None = None
    """Numbers of usable targets and next features ``[2]``, averaged over ranks; None in a single process."""
    cameras: Mapping[str, Tensor] = MappingProxyType({})
    """Camera images ``[B, C, H, W]`` by observation group, in their own types."""


class BatchRows(NamedTuple):
    """Row indices of a minibatch."""

    rows: Tensor
    """Rows ``t E + e``, long ``[B]``."""
    counts: Tensor | None
    """:attr:`Minibatch.counts`."""
    trajectories: Trajectories | None = None
    """What recurrent encoders run through for these rows; None without such encoders."""


class RolloutBuffer:
    """One rollout of ``T`` steps in ``E`` environments.

    Everything is allocated here, because the runner collects under ``torch.inference_mode`` and tensors created there
    could not be used in the update. Observations, actions and log-probs have ``T + 1`` rows: the last one holds the
    bootstrap at the state after the rollout.

    Args:
        num_steps: Rollout length ``T``.
        num_envs: Number of environments ``E``.
        num_actor_obs: Dimension ``O`` of what is stored of the actor's observations: normalised, or as latents of a
            recurrent encoder.
        num_critic_obs: The same of the critic's, ``Oc``; None when the critic sees the actor's observations.
        num_actions: Action dimension ``A``.
        feature_dim: Width ``F`` of the critic's features.
        trace_length: Rows ``R`` of the policy's traces, ``R A`` numbers per transition; 0 stores none.
        device: Device of the storage.
        trace_dtype: Type of these numbers, float32 by default.
        images: Example images ``[E, C, H, W]`` by observation group, which are stored in their own types.
        sequences: Stores what recurrent encoders need; None without such encoders.

    Raises:
        ConfigError: If the device has too little memory; says how much is needed for what.
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
        trace_dtype: torch.dtype | None = None,
        images: Mapping[str, Tensor] = MappingProxyType({}),
        sequences: SequenceStorage | None = None,
    ) -> None:
        self.num_steps, self.num_envs, self.device = num_steps, num_envs, torch.device(device)
        self.sequences = sequences
        try:
            self._allocate(num_actor_obs, num_critic_obs, num_actions, feature_dim, trace_length, trace_dtype)
            self.images = {name: self._for_images(num_steps + 1, x) for name, x in images.items()}
            """Images ``[T + 1, E, C, H, W]`` by observation group, in their own types."""
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
            sizes = {
                "observations": 4 * (num_actor_obs + (num_critic_obs or 0)),
                "next features": NEXT_FEATURES_DTYPE.itemsize * feature_dim,
                "chains": (trace_dtype or torch.float32).itemsize * trace_length * num_actions,
                **{f"images of {name}": x[0].numel() * x.element_size() for name, x in images.items()},
            }
            gib = {name: num_steps * num_envs * size / 2**30 for name, size in sizes.items()}
            raise ConfigError(
                f"{self.device} has too little memory for a rollout of {num_steps} x {num_envs} transitions: "
                f"{', '.join(f'{name} {size:.1f} GiB' for name, size in gib.items())}. Lower num_envs, "
                f"num_steps_per_env or {setting('algorithm.critic_hidden_dim')}, or set "
                f"{setting('algorithm.kl_chains', repr('fresh'))}, which stores none."
            ) from error
        self.final_actor_obs: Tensor | None = None
        self.final_critic_obs: Tensor | None = None
        self.final_images: dict[str, Tensor] = {}
        self.rows: Tensor | None = None
        """Rows ``t E + e`` to learn from, ``[T E]``, with repetitions in place of excluded rows; None for all."""
        self.step = 0

    def _allocate(
        self,
        num_actor_obs: int,
        num_critic_obs: int | None,
        num_actions: int,
        feature_dim: int,
        trace_length: int,
        trace_dtype: torch.dtype | None,
    ) -> None:
        t, e, device = self.num_steps, self.num_envs, self.device
        self.actor_obs = self.critic_obs = torch.zeros(t + 1, e, num_actor_obs, device=device)
        if num_critic_obs is not None:
            self.critic_obs = torch.zeros(t + 1, e, num_critic_obs, device=device)
        self.actions = torch.zeros(t + 1, e, num_actions, device=device)
        self.log_probs = torch.zeros(t + 1, e, device=device)
        self.rewards, self.targets = torch.zeros(2, t, e, device=device)
        self.seen = torch.ones(t + 1, e, dtype=torch.bool, device=device)
        """Whether the simulator's observations were finite; zeros are stored where they were not."""
        self.rewarded = torch.ones(t, e, dtype=torch.bool, device=device)
        """Whether the simulator's rewards were finite; 0 is stored where they were not."""
        self.terminated, self.truncated, self.has_final = torch.zeros(3, t, e, dtype=torch.bool, device=device)
        self.next_features = torch.zeros(t, e, feature_dim, device=device, dtype=NEXT_FEATURES_DTYPE)
        self.target_valid, self.features_valid = torch.ones(2, t, e, dtype=torch.bool, device=device)
        trace = (t, e, trace_length, num_actions)
        self.trace = torch.zeros(trace, device=device, dtype=trace_dtype) if trace_length else None

    def _for_images(self, num_steps: int, example: Tensor) -> Tensor:
        return torch.zeros(num_steps, self.num_envs, *example.shape[1:], dtype=example.dtype, device=self.device)

    @property
    def observations(self) -> list[Tensor]:
        """The normalised observations of actor and critic ``[T, E, O]`` and ``[T, E, Oc]``, each once."""
        inputs = self.sequences.inputs if self.sequences is not None else {}
        stored = {"actor": self.actor_obs, "critic": self.critic_obs}
        if self.critic_obs is self.actor_obs:
            del stored["critic"]
        return [inputs.get(name, obs[: self.num_steps]) for name, obs in stored.items()]

    def images_at(self, step: int) -> dict[str, Tensor]:
        """Return the images ``[E, C, H, W]`` of a row by observation group."""
        return {name: values[step] for name, values in self.images.items()}

    def add_decision(
        self,
        actor_obs: Tensor,
        critic_obs: Tensor,
        decision: Decision,
        seen: Tensor | None = None,
        images: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        """Write what is stored of finite observations, ``[E, O]`` and ``[E, Oc]``, and the decision of row ``step``.

        ``seen``, bool ``[E]``, is written to :attr:`seen`; ``images`` are finite, too.

        Raises:
            OverflowError: If the rollout is longer than the buffer.
        """
        if self.step > self.num_steps:
            raise OverflowError(f"The rollout buffer holds {self.num_steps} steps; call clear() before adding more.")
        self.actor_obs[self.step].copy_(actor_obs)
        if self.critic_obs is not self.actor_obs:
            self.critic_obs[self.step].copy_(critic_obs)
        for name, values in images.items():
            self.images[name][self.step].copy_(values)
        if seen is not None:
            self.seen[self.step].copy_(seen)
        torch.tanh(decision.latent, out=self.actions[self.step])
        self.log_probs[self.step].copy_(decision.log_prob)
        if self.trace is not None and self.step < self.num_steps:
            self.trace[self.step].copy_(decision.trace.transpose(0, 1))

    def add_outcome(self, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> None:
        """Write the outcome of row ``step``, each ``[E]``, and move to the next row.

        Terminations and truncations are exclusive. In place of a reward that is not finite, 0 is written.
        """
        # 0 x is NaN for infinity and NaN
        faulty = (0 * rewards).ne(0)
        torch.logical_not(faulty, out=self.rewarded[self.step])
        self.rewards[self.step].copy_(rewards).masked_fill_(faulty, 0.0)
        self.terminated[self.step].copy_(terminated)
        self.truncated[self.step].copy_(truncated)
        if self.sequences is not None:
            # what is excluded as non-finite counts as truncated later, but resets no state
            torch.logical_or(terminated, truncated, out=self.sequences.ended[self.step])
        self.step += 1

    def add_final_obs(
        self, actor_obs: Tensor, critic_obs: Tensor, images: Mapping[str, Tensor] = MappingProxyType({})
    ) -> None:
        """Store final observations ``[E, O]``, raw or as latents of a recurrent encoder, and images of row ``step``.

        Call it before :meth:`add_outcome`.

        Only rows where an episode ended are read later. Memory is allocated on the first call, since many hosts provide
        no final observations.
        """
        if self.final_actor_obs is None or self.final_critic_obs is None:
            with torch.inference_mode(False):
                self.final_actor_obs = self.final_critic_obs = torch.zeros_like(self.actor_obs[1:])
                if self.critic_obs is not self.actor_obs:
                    self.final_critic_obs = torch.zeros_like(self.critic_obs[1:])
                self.final_images = {name: torch.zeros_like(x[1:]) for name, x in self.images.items()}
        self.final_actor_obs[self.step].copy_(actor_obs)
        if self.final_critic_obs is not self.final_actor_obs:
            self.final_critic_obs[self.step].copy_(critic_obs)
        for name, values in images.items():
            self.final_images[name][self.step].copy_(values)
        self.has_final[self.step].fill_(True)

    def clear(self) -> None:
        """Start the next rollout."""
        self.step, self.rows = 0, None
        self.has_final.fill_(False)

    def index_batches(self, num_epochs: int, num_minibatches: int) -> Iterator[BatchRows]:
        """Yield the rows of ``num_epochs * num_minibatches`` batches, each epoch a fresh permutation of all rows.

        With recurrent encoders, batches are of whole sequences.

        All have the same size; if it does not divide the number of rows, each epoch leaves out a few at random.

        Raises:
            ValueError: If there are fewer rows, or sequences, than minibatches.
        """
        if self.sequences is not None:
            for batches in self.sequences.batches(self.seen[:-1], num_epochs, num_minibatches):
                counts = self._counts(torch.stack([rows for rows, _ in batches]))
                yield from (BatchRows(rows, n, parts) for (rows, parts), n in zip(batches, counts, strict=True))
            return
        rows = self.num_steps * self.num_envs
        if num_minibatches > rows:
            raise ValueError(f"{rows} transitions can't make {num_minibatches} minibatches; lower num_mini_batches.")
        size = rows // num_minibatches
        for _ in range(num_epochs):
            order = torch.randperm(rows, device=self.device)
            if self.rows is not None:
                order = self.rows[order]
            batches = order[: num_minibatches * size].view(num_minibatches, size)
            yield from map(BatchRows, batches, self._counts(batches))

    def minibatch(self, batch: BatchRows) -> Minibatch:
        """Return the transitions of some rows."""

        def flat(x: Tensor) -> Tensor:
            return x[: self.num_steps].flatten(0, 1)[batch.rows]

        actor_obs = flat(self.actor_obs)
        critic_obs = actor_obs if self.critic_obs is self.actor_obs else flat(self.critic_obs)
        trace = None if self.trace is None else flat(self.trace).transpose(0, 1)
        learned = flat(self.actions), flat(self.targets), flat(self.next_features)
        valid = flat(self.target_valid), flat(self.features_valid)
        images = {name: flat(values) for name, values in self.images.items()}
        return Minibatch(actor_obs, critic_obs, *learned, *valid, trace, batch.counts, images)

    def padded_sequences(self, batch: BatchRows) -> dict[str, PaddedSequences]:
        """Return what the recurrent encoders of ``actor`` and ``critic`` replay for a minibatch, by their names."""
        if self.sequences is None or batch.trajectories is None:
            return {}
        return self.sequences.padded(batch.trajectories)

    def minibatches(self, num_epochs: int, num_minibatches: int) -> Iterator[Minibatch]:
        """Yield the transitions of :meth:`index_batches`."""
        return map(self.minibatch, self.index_batches(num_epochs, num_minibatches))

    def _counts(self, batches: Tensor) -> Sequence[Tensor | None]:
        """Return :attr:`Minibatch.counts` of each of the batches with rows ``[M, B]``.

        Ranks have different numbers of usable rows, so a mean of the ranks' means would weight rows unequally.
        """
        if not torch.distributed.is_initialized():
            return [None] * len(batches)
        masks = torch.stack([self.target_valid.flatten()[batches], self.features_valid.flatten()[batches]], dim=-1)
        mean = all_reduce_mean(masks.sum(1).to(self.targets.dtype))
        return list(mean.clamp(min=1.0 / torch.distributed.get_world_size()))
