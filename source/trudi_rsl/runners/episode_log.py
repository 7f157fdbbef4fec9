# SPDX-License-Identifier: BSD-3-Clause
"""Returns and lengths of the episodes that end during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class EpisodeLog:
    """Keeps the sums of RSL-RL's logger: what its ``process_env_step`` does, without its three GPU syncs per step.

    Args:
        runner: Its ``logger`` holds the sums over unfinished episodes, ``cur_*``, and the buffers to which
            :meth:`flush` appends finished ones, in the order of steps and environments.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._buffers: tuple[str, ...] = ()
        self._ended: list[Tensor] = []
        self._sums: list[Tensor] = []

    def add(self, rewards: Tensor, dones: Tensor, extras: Mapping[str, Any], intrinsic: Tensor | None) -> None:
        """Add a step's rewards ``[E]``, and with RND the intrinsic ones; nothing if the run has no log."""
        log = self._runner.logger
        if getattr(log, "writer", None) is None:
            return
        if (episode := extras.get("episode", extras.get("log"))) is not None:
            log.ep_extras.append(episode)
        # one NaN would stay in the mean over a hundred episodes
        rewards = rewards.nan_to_num(0.0, 0.0, 0.0)
        log.cur_reward_sum += rewards if intrinsic is None else rewards + intrinsic
        log.cur_episode_length += 1
        sums = {"rewbuffer": log.cur_reward_sum, "lenbuffer": log.cur_episode_length}
        if intrinsic is not None:
            log.cur_ereward_sum += rewards
            log.cur_ireward_sum += intrinsic
            sums |= {"erewbuffer": log.cur_ereward_sum, "irewbuffer": log.cur_ireward_sum}
        ended = dones > 0
        self._buffers = tuple(sums)
        self._ended.append(ended)
        self._sums.append(torch.stack(list(sums.values())))
        for total in sums.values():
            total.masked_fill_(ended, 0.0)

    def flush(self) -> None:
        """Append the finished episodes to the logger's buffers; this is a GPU sync."""
        if not self._sums:
            return
        ended, sums = torch.stack(self._ended).float(), torch.stack(self._sums)
        ended, *finished = torch.cat([ended[None], sums.transpose(0, 1)]).cpu().numpy()
        self._ended, self._sums = [], []
        for name, totals in zip(self._buffers, finished, strict=True):
            getattr(self._runner.logger, name).extend(totals[ended > 0].tolist())
