# SPDX-License-Identifier: BSD-3-Clause
"""Rewards for states that are new, by RSL-RL's random network distillation (RND), beside a learner.

A predictor learns the outputs of a fixed random network, and its error is the intrinsic reward (arXiv 1810.12894).
As in RSL-RL's PPO, the reward is that of the observation after the step, of the next episode where one has ended; its
weight follows a schedule over the steps of training; and the predictor takes one step in every minibatch, with an
optimiser of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms.nonfinite import filter_nonfinite
from trudi_rsl.distributed import all_reduce_mean
from trudi_rsl.environments.description import control_period
from trudi_rsl.errors import CheckpointError, setting
from trudi_rsl.policies.normalization import replace_rnd_normalizers
from trudi_rsl.rsl_rl_compat.extensions import build_rnd, rnd_loss
from trudi_rsl.rsl_rl_compat.version import NORMALIZES_IN_UPDATE

STATE, OPTIMIZER = "rnd_state_dict", "rnd_optimizer_state_dict"
"""RSL-RL's keys of a checkpoint."""

PROGRESS = "rnd_progress"
"""Key of what RSL-RL leaves out: the steps that the weight's schedule has counted, and the discounted sums of rewards
``[E]`` by which intrinsic rewards are normalised."""


class Curiosity:
    """RND's module, its optimiser, and the observations that it learns from.

    Args:
        rnd: RSL-RL's ``RandomNetworkDistillation``.
        optimizer: That of its predictor.
        obs: Observations of batch ``[E]``, which size the storage.
        num_steps: Rollout length ``T``.
    """

    def __init__(self, rnd: Any, optimizer: torch.optim.Optimizer, obs: TensorDict, num_steps: int) -> None:
        self.rnd, self.optimizer, self.num_steps = rnd, optimizer, num_steps
        replace_rnd_normalizers(rnd)
        self.groups: list[str] = rnd.obs_groups["rnd_state"]
        # allocated here, because tensors made under the runner's inference mode could not be learned from
        rows = {name: torch.zeros(num_steps * len(obs), obs[name].shape[-1], device=rnd.device) for name in self.groups}
        self.states = TensorDict(rows, batch_size=[num_steps * len(obs)])  # pyright: ignore[reportArgumentType]
        """Finite observation groups of the rollout, rows ``t E + e``."""

    def observe(self, obs: TensorDict, step: int) -> None:
        """Store the observations ``[E, ...]`` before a step, to learn from; those after the rollout are not."""
        if step < self.num_steps:
            finite, _ = self._finite(obs)
            rows = slice(step * len(obs), (step + 1) * len(obs))
            for name in self.groups:
                self.states[name][rows].copy_(finite[name])

    def intrinsic_rewards(self, obs: TensorDict) -> Tensor:
        """Return the weighted rewards ``[E]`` of the observations after a step, 0 where they are not finite."""
        # normalisers must not become inference tensors, which nothing can be loaded into
        with torch.inference_mode(False), torch.no_grad():
            states, finite = self._finite(obs)
            if not NORMALIZES_IN_UPDATE:
                self.rnd.update_normalization(states)
            return self.rnd.get_intrinsic_reward(states).masked_fill(~finite, 0.0)

    def learn(self, rows: Tensor, veto: Tensor) -> Tensor:
        """Let the predictor learn from rows ``[B]`` of the rollout, and return its loss, a scalar without gradient.

        Its gradient counts as 0 where it is not finite, and with a ``veto``, bool scalar.
        """
        loss = rnd_loss(self.rnd, self.states[rows])
        parameters = list(self.rnd.predictor.parameters())
        gradient = torch.autograd.grad(loss, parameters)
        flat = all_reduce_mean(torch.cat([part.flatten() for part in gradient]))
        flat = flat.where(torch.isfinite(flat).all() & ~veto, 0.0)
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)
        self.optimizer.step()
        return loss.detach()

    def end_update(self) -> None:
        """Update the normaliser of states with the rollout, in versions of RSL-RL that do it once per iteration."""
        if NORMALIZES_IN_UPDATE:
            self.rnd.update_normalization(self.states)

    def _finite(self, obs: TensorDict) -> tuple[TensorDict, Tensor]:
        """Return the groups with 0 in rows ``[E]`` where any is not finite, and the mask of finite rows."""
        values, finite = filter_nonfinite(*(obs[name] for name in self.groups))
        groups = dict(zip(self.groups, values, strict=True))
        return TensorDict(groups, batch_size=obs.batch_size), finite  # pyright: ignore[reportArgumentType]

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """Return the entries of a checkpoint."""
        return {STATE: self.rnd.state_dict(), OPTIMIZER: self.optimizer.state_dict(), PROGRESS: rnd_progress(self.rnd)}

    def load(self, checkpoint: Mapping[str, Any], strict: bool, is_main_process: bool) -> None:
        """Restore the entries of :meth:`save`; the sums of rewards in the main process alone, whose they are.

        Raises:
            CheckpointError: If the checkpoint has none.
        """
        if STATE not in checkpoint:
            raise CheckpointError(
                "The checkpoint is of a training without RND. To continue it, leave "
                f"{setting('algorithm.rnd_cfg')} out, or load its networks alone, with "
                'load_cfg={"actor": True, "critic": True}.'
            )
        self.rnd.load_state_dict(checkpoint[STATE], strict=strict)
        self.optimizer.load_state_dict(checkpoint[OPTIMIZER])
        num_envs = len(self.states) // self.num_steps if is_main_process else None
        set_rnd_progress(self.rnd, checkpoint.get(PROGRESS) or {}, num_envs)


def curiosity(
    section: Mapping[str, Any] | None,
    obs: TensorDict,
    obs_groups: Mapping[str, list[str]],
    env: VecEnv,
    num_steps: int,
    device: str,
) -> Curiosity | None:
    """Return RND for a checked ``rnd_cfg``, None without one; its observation set is ``rnd_state``.

    RSL-RL multiplies the weight by the environment's ``step_dt``; one without it has the weight as it is.
    """
    if section is None:
        return None
    num_states = sum(obs[name].shape[-1] for name in obs_groups["rnd_state"])
    period = control_period(getattr(env, "unwrapped", env)) or 1.0
    return Curiosity(*build_rnd(section, num_states, obs_groups, period, device), obs, num_steps)


def rnd_progress(rnd: Any) -> dict[str, Any]:
    """Return what RSL-RL's ``state_dict`` leaves out of RND."""
    average = rnd.reward_normalizer.disc_avg.avg if rnd.reward_normalization else None
    return {"update_counter": rnd.update_counter, "discounted_average": average}


def set_rnd_progress(rnd: Any, progress: Mapping[str, Any], num_envs: int | None) -> None:
    """Restore :func:`rnd_progress`, which a checkpoint of RSL-RL's own PPO lacks: the schedule starts over there.

    The sums of rewards are restored if they are those of ``num_envs`` environments.
    """
    rnd.update_counter = progress.get("update_counter", 0)
    average = progress.get("discounted_average")
    if rnd.reward_normalization and average is not None and average.shape == (num_envs,):
        rnd.reward_normalizer.disc_avg.avg = average.to(rnd.device)
