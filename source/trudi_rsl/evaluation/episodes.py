# SPDX-License-Identifier: BSD-3-Clause
"""Whole episodes of a policy in a vectorised environment, during training and in evaluations."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.environments.progress import host_progress, set_host_progress
from trudi_rsl.errors import ConfigError

PLAYED_EPISODES = 10
"""Episodes of a policy that is played."""

MOST_ENVS = 64
"""Environments stepped together, at most; fewer where there are fewer episodes."""

EVALUATION_SEED = 10_000
"""Seed of evaluations, apart from those of trainings, which count from the run's seed."""


NAMES = frozenset({"success", "is_success", "success_rate"})
"""Last parts of the names under which tasks log their success."""

COUNTS = "Episode_Termination/"
"""How names begin that Isaac Lab and mjlab log numbers of episodes under, not shares."""


def successes(extras: Mapping[str, Any], done: Tensor) -> Tensor | None:
    """Return the success of each episode that ended in this step.

    Args:
        extras: As an RSL-RL environment returns them: ``success`` ``[E]``, or an entry of ``log`` (of ``episode``
            under RSL-RL's older name) whose name ends in one of :data:`NAMES`, a mean over the episodes that ended.
        done: Where an episode ended, ``[E]`` bool.

    Returns:
        ``[E]`` float64 in [0, 1], NaN where no episode ended; None if the task reports no success.
    """
    value = extras.get("success")
    if value is None:
        log = extras.get("log") or extras.get("episode") or {}
        value = next((v for k, v in log.items() if k.rpartition("/")[2] in NAMES and not k.startswith(COUNTS)), None)
    if value is None:
        return None
    value = torch.as_tensor(value, dtype=torch.float64, device=done.device)
    return torch.where(done, value, torch.nan)


Policy = Callable[[TensorDict], Tensor]
"""Observation groups of batch ``[E]`` to simulator actions ``[E, A]``."""

STEPS_PER_CHECK = 8
"""Environment steps between two looks at how many episodes ended; each look waits for the device."""


@dataclass(frozen=True)
class EpisodeResults:
    """What M episodes gave."""

    returns: Tensor
    """Undiscounted sums of rewards ``[M]``, float64."""
    lengths: Tensor
    """Steps ``[M]``, long."""
    success: Tensor | None = None
    """Whether each episode succeeded at its last step, 0 or 1, ``[M]`` float64; None if no episode tells.

    Where the host tells only a mean over the episodes that ended in one step, each gets that. An episode that tells
    nothing where others do has failed.
    """


@torch.no_grad()
def evaluate(
    env: VecEnv,
    policy: Policy,
    num_episodes: int,
    progress: bool = True,
    on_progress: Callable[[float], None] | None = None,
    policy_device: torch.device | str | None = None,
) -> EpisodeResults:
    """Run whole episodes from fresh resets.

    The first M episodes that end would favour short ones, and so failures or quick successes. Each of the E
    environments has a quota instead, M / E rounded up or down; what it runs beyond that is not counted.

    Args:
        env: The environments; all are reset with ``env.reset()``.
        policy: Gives the actions. If it has a ``reset(dones)``, as RSL-RL's recurrent models do, that is called at the
            start and where episodes end.
        num_episodes: M, at least 1.
        progress: Show a progress bar with the time left.
        on_progress: Called now and then with the share that is done, in [0, 1], for bars over several evaluations.
        policy_device: Where the policy computes; None where the environments do.

    Returns:
        Returns, lengths and successes of exactly M episodes, on the environment's device, environment by environment.

    Raises:
        ConfigError: If ``num_episodes`` is below 1.
    """
    if num_episodes < 1:
        raise ConfigError(f"The number of episodes must be at least 1, got {num_episodes}.")
    num_envs, device = env.num_envs, env.device
    policy_device = policy_device or device
    columns = torch.arange(-(-num_episodes // num_envs), device=device)
    overflow = len(columns)
    quota = num_episodes // num_envs + (torch.arange(num_envs, device=device) < num_episodes % num_envs).long()
    # Columns from the quota on are not counted; the last is none's quota and takes what has not ended.
    returns = torch.zeros(num_envs, overflow + 1, dtype=torch.float64, device=device)
    lengths = torch.zeros(num_envs, overflow + 1, dtype=torch.long, device=device)
    succeeded = torch.full_like(returns, torch.nan)
    ended = torch.zeros_like(quota)
    running_return, running_length = torch.zeros_like(returns[:, 0]), torch.zeros_like(lengths[:, 0])
    # RSL-RL 3 hands out a method of what remembers
    is_method = getattr(policy, "__name__", None) == "act_inference"
    reset_policy = getattr(getattr(policy, "__self__", policy) if is_method else policy, "reset", None)

    obs, _ = env.reset()  # type: ignore[attr-defined]  # RSL-RL's base class lacks it, every host has it
    if reset_policy is not None:
        reset_policy(torch.ones_like(ended, device=policy_device))
    with _progress_bar(progress) as bar:
        task, count = bar.add_task("", total=num_episodes, ended=0, episodes=num_episodes), 0.0
        while count < num_episodes:
            for _ in range(STEPS_PER_CHECK):
                obs, rewards, dones, extras = env.step(policy(obs.to(policy_device)).to(device))
                done = dones.reshape(-1) > 0
                running_return += rewards.reshape(-1)
                running_length += 1
                column = torch.where(done, ended, overflow).unsqueeze(1)
                returns.scatter_(1, column, running_return.unsqueeze(1))
                lengths.scatter_(1, column, running_length.unsqueeze(1))
                if (success := successes(extras, done)) is not None:
                    succeeded.scatter_(1, column, success.unsqueeze(1))
                ended = torch.minimum(ended + done.long(), quota)
                running_return.masked_fill_(done, 0.0)
                running_length.masked_fill_(done, 0)
                if reset_policy is not None:
                    reset_policy(dones.to(policy_device))
            under_way = (running_length / env.max_episode_length).clamp(max=0.99) * (ended < quota)
            count, partial = torch.stack([ended.sum(), under_way.sum()]).tolist()
            bar.update(task, completed=count + partial, ended=int(count))
            if on_progress is not None:
                on_progress((count + partial) / num_episodes)

    counted = columns < quota.unsqueeze(1)
    success = succeeded[:, :overflow][counted]
    return EpisodeResults(
        returns[:, :overflow][counted],
        lengths[:, :overflow][counted],
        None if bool(success.isnan().all()) else success.nan_to_num(0.0),
    )


def _progress_bar(shown: bool) -> Progress:
    """Return a bar over episodes, of which those under way count by their share of the time limit."""
    return Progress(
        TextColumn("Evaluating"),
        BarColumn(),
        TextColumn("{task.fields[ended]}/{task.fields[episodes]} episodes"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        disable=not shown,
    )


MEAN_RETURN = "Evaluation/mean_return"
"""Name of the number that decides which checkpoint is the best."""


def scalars(results: EpisodeResults) -> dict[str, float]:
    """Return the numbers of an evaluation by their names in the log."""
    numbers = {MEAN_RETURN: results.returns.mean(), "Evaluation/mean_episode_length": results.lengths.double().mean()}
    if results.success is not None:
        numbers["Evaluation/success"] = results.success.mean()
    return {name: value.item() for name, value in numbers.items()}


class SameStart:
    """Where environments are when this is made, for each policy that is to run in them.

    Args:
        env: The environments.
    """

    def __init__(self, env: VecEnv) -> None:
        self._env, self._place = env, host_progress(env)

    def restore(self, seed: int) -> None:
        """Put counters and curricula back and seed the simulators and torch; what hosts print of it is left out."""
        with contextlib.redirect_stdout(io.StringIO()):
            if self._place is not None:
                set_host_progress(self._env, self._place)
            if hasattr(self._env, "seed"):  # RSL-RL's base class lacks it, every host has it
                self._env.seed(seed)  # type: ignore[attr-defined]
        torch.manual_seed(seed)
