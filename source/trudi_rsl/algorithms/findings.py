# SPDX-License-Identifier: BSD-3-Clause
"""What an iteration of TruDi, REPPO or DIME finds on the device, read by one GPU sync at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rsl_rl.env import VecEnv
from torch import Tensor

from trudi_rsl.acceleration import resolve_precision
from trudi_rsl.algorithms.metrics import read_metrics
from trudi_rsl.algorithms.nonfinite import Content, RolloutFaults, UpdateGuard
from trudi_rsl.algorithms.trust_region import REPLAY_SHARE, report_replay
from trudi_rsl.distributed import all_gather
from trudi_rsl.policies import ActorCritic
from trudi_rsl.settings import LearnerCfg, Precision, TrustRegionCfg
from trudi_rsl.storage import BatchRows, RolloutBuffer


class Findings:
    """Non-finite numbers, skipped updates and the replay's error.

    :meth:`examine` looks at a rollout before the update and sets :attr:`veto`, :meth:`settle` reads and reports it.

    Args:
        guard: Reports non-finite numbers.
        cfg: The algorithm's settings.
        model: Its parameters must be finite.
        env: Is reset where it is not finite after a rollout.
        verbose: Whether this process logs.
    """

    def __init__(
        self, guard: UpdateGuard, cfg: LearnerCfg, model: ActorCritic[Any], env: VecEnv | None, verbose: bool
    ) -> None:
        self._guard, self._model, self._env, self._verbose = guard, model, env, verbose
        device = model.action_scale.device
        self._kl_bound = cfg.kl_bound if isinstance(cfg, TrustRegionCfg) else None
        self.precision: Precision = resolve_precision(cfg.precision, device)
        """Precision of the matrix products, not ``auto``."""
        self.veto = torch.zeros((), dtype=torch.bool, device=device)
        """Whether nothing may be learned from the rollout, on any rank; bool scalar."""
        self._faults: RolloutFaults | None = None
        self._replay_error: Tensor | None = None
        self.expect_replay()

    def expect_replay(self) -> None:
        """Let the next rollout's decisions be replayed, if there is a trust region."""
        self.needs_replay = self._kl_bound is not None
        """Whether :meth:`examine` needs the replay's error."""

    def examine(self, storage: RolloutBuffer, replay_error: Tensor | None) -> None:
        """Exclude a full rollout's non-finite transitions from learning and set :attr:`veto`, without a GPU sync.

        Args:
            storage: The rollout.
            replay_error: See :func:`~trudi_rsl.algorithms.trust_region.replay_error`; None if it is not needed.
        """
        self._faults, self._replay_error = self._guard.filter_rollout(storage, self._env), replay_error
        veto = self._faults.veto
        if replay_error is not None and self._kl_bound is not None:
            veto = veto | ~(replay_error <= REPLAY_SHARE * self._kl_bound)
        # all ranks must skip the same updates
        self.veto.copy_(all_gather(veto.float()).any())

    def settle(
        self,
        metrics: Mapping[str, Tensor],
        minibatches: Sequence[Mapping[str, Tensor]],
        storage: RolloutBuffer,
        batches: Sequence[BatchRows],
        content: Content,
    ) -> tuple[dict[str, float], bool]:
        """Return an iteration's metrics as numbers, and whether the rollout was learned from.

        Args:
            metrics: Those of the iteration.
            minibatches: Those of each minibatch.
            storage: The rollout.
            batches: Rows of each minibatch.
            content: Returns the checkpoint to keep with a skipped update.

        Raises:
            NonFiniteError: See :meth:`UpdateGuard.check_rollout` and :meth:`UpdateGuard.check_updates`.
            RuntimeError: If the replay's error is more than rounding.
        """
        assert self._faults is not None, "call examine first"
        own = {"nonfinite_envs": self._faults.num_envs, "enough": self._faults.enough, "veto": self.veto}
        own["weights"] = torch.nn.utils.get_total_norm([p.detach() for p in self._model.parameters()])
        own["skipped"] = minibatches[-1]["skipped_updates"]
        if self._replay_error is not None:
            own["replay_error"] = self._replay_error
        numbers, found = read_metrics(metrics, own)
        if self._kl_bound is not None and "replay_error" in found:
            report_replay(found["replay_error"], self.precision, self._kl_bound, self._verbose)
            self.needs_replay = False
        if found["nonfinite_envs"]:
            self._guard.check_rollout(self._faults, bool(found["enough"]), storage, self._env, content)
        if found["veto"]:
            numbers = {"skipped_updates": 1.0}
        else:
            skipped, batch = bool(found["skipped"]), lambda i: storage.minibatch(batches[i])
            self._guard.check_updates(skipped, found["weights"], minibatches, batch, content)
        return numbers | {"nonfinite_envs": found["nonfinite_envs"]}, not found["veto"]
