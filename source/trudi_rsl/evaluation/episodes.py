# SPDX-License-Identifier: BSD-3-Clause
"""Whole episodes of a policy in vectorised environments, during training and in evaluations."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.environments.progress import host_progress, set_host_progress
from trudi_rsl.errors import ConfigError

NO_TIME_LIMIT = 1_000_000
"""``max_episode_length`` of a task without a time limit: finite, because RSL-RL draws integers below it."""
MOST_ENVS = 64
"""Default limit on environments stepped together; fewer episodes take fewer."""
STEPS_PER_CHECK = 8
"""Environment steps between two checks of how many episodes ended; each check forces a GPU sync."""
SUCCESS_NAMES = frozenset({"success", "is_success", "success_rate"})
"""Last parts of the names under which tasks log their success."""
COUNT_PREFIX = "Episode_Termination/"
"""Prefix under which Isaac Lab and mjlab log numbers of episodes instead of shares."""
MEAN_RETURN = "Evaluation/mean_return"
"""Name of the scalar that decides which checkpoint is the best."""
Policy = Callable[[TensorDict], Tensor]
"""Observation groups of batch ``[E]`` to actions ``[E, A]`` in the simulator's units."""


@dataclass(frozen=True)
class EpisodeResults:
    """Results of M episodes."""

    returns: Tensor
    """Undiscounted sums of rewards ``[M]``, float64."""
    lengths: Tensor
    """Steps ``[M]``, long."""
    success: Tensor | None = None
    """Whether each episode succeeded, 0 or 1, ``[M]`` float64; None if no episode reports it.

    An episode for which success was reported at several steps has succeeded if it did at any. If the host reports only
    a mean over the episodes that ended in one step, each of them gets that mean. An episode without a report has failed
    if others have one.
    """
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    """Other numbers that the task reports at the last step of an episode, by name: ``[M]`` float64, NaN where it
    reported none."""

    def plain(self) -> dict[str, Any]:
        """Return the results as lists ``returns``, ``lengths`` and ``success`` (or None)."""
        success = None if self.success is None else self.success.tolist()
        return {"returns": self.returns.tolist(), "lengths": self.lengths.tolist(), "success": success}


class Successes:
    """Collects the success that environments report in ``extras``, of any form; what cannot be read is ignored.

    ``extras["success"]`` ``[E]`` counts at every step at which it is present, and the largest of an episode is its
    success: hosts that define success by the last step report it then alone. Without it, the entry of ``log``
    (``episode`` in older versions of RSL-RL) counts whose name ends in one of :data:`SUCCESS_NAMES`, a mean over the
    episodes that ended.

    Args:
        num_envs: E.
        device: That of the environments.
    """

    def __init__(self, num_envs: int, device: torch.device | str) -> None:
        self._so_far = torch.full((num_envs,), torch.nan, dtype=torch.float64, device=device)
        self._single = False
        """Whether there have been reports of single environments."""

    def update(self, extras: Mapping[str, Any], done: Tensor) -> Tensor | None:
        """Return the success of the episodes that ended in this step, where ``done`` ``[E]`` is true.

        Float64 ``[E]`` in [0, 1], NaN where no episode ended or nothing is known; None if the task reports none.
        """
        reported = _readable(extras.get("success"), self._so_far)
        self._single |= reported is not None and reported.ndim == 1
        if not self._single:
            mean = _logged_success(extras, self._so_far) if reported is None else reported
            return None if mean is None else torch.where(done, mean, torch.nan)
        if reported is not None:
            self._so_far = torch.fmax(self._so_far, reported)
        success = torch.where(done, self._so_far, torch.nan)
        self._so_far = torch.where(done, torch.nan, self._so_far)
        return success


def _logged_success(extras: Mapping[str, Any], like: Tensor) -> Tensor | None:
    log = extras.get("log") or extras.get("episode") or {}
    if not isinstance(log, Mapping):
        return None
    for name, value in log.items():
        if str(name).rpartition("/")[2] in SUCCESS_NAMES and not str(name).startswith(COUNT_PREFIX):
            mean = _readable(value, like)
            return mean if mean is None or mean.ndim == 0 else mean.nanmean()
    return None


def _readable(value: Any, like: Tensor) -> Tensor | None:
    """Return a report as a float64 scalar or ``[E]`` on the device of ``like`` ``[E]``; None if it is neither."""
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64, device=like.device)
    except (TypeError, ValueError, RuntimeError):  # None, text, dicts, ragged lists
        return None
    if numbers.numel() == 1 and len(like) != 1:
        return numbers.reshape(())
    return numbers.reshape(-1) if numbers.numel() == len(like) else None


def progress_bar(verb: str, unit: str, shown: bool = True) -> Progress:
    """Return a progress bar with the time left; its tasks have a field ``ended`` beside a fractional ``completed``."""
    return Progress(
        TextColumn(verb),
        BarColumn(),
        TextColumn(f"{{task.fields[ended]}}/{{task.total:.0f}} {unit}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        speed_estimate_period=3600.0,  # seconds; one step of a bar may take minutes
        disable=not shown,
    )


def start_episodes(env: VecEnv, policy: Policy, device: torch.device | str) -> tuple[TensorDict, Callable[..., Any]]:
    """Reset all environments and the memory of the policy, which lies on ``device``.

    Return the first observations, and the policy's ``reset(dones)``, a no-op for a policy without memory.
    """
    # RSL-RL 3 returns a method of its recurrent model
    owner = getattr(policy, "__self__", policy) if getattr(policy, "__name__", None) == "act_inference" else policy
    reset = getattr(owner, "reset", None) or (lambda dones: None)
    obs, _ = env.reset()  # type: ignore[attr-defined]  # RSL-RL's base class lacks it, every host has it
    reset(torch.ones(env.num_envs, dtype=torch.long, device=device))
    return obs, reset


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

    Taking the first M episodes that end would be biased towards short ones. Instead each of the E environments has a
    quota, M / E rounded up or down; episodes beyond the quota are not counted.

    Args:
        env: All environments are reset.
        policy: If it has a ``reset(dones)``, like RSL-RL's recurrent models, that is called at the start and whenever
            episodes end.
        num_episodes: M, at least 1.
        progress: Show a progress bar with the time left.
        on_progress: Called regularly with the share that is done, in [0, 1], for bars over several evaluations.
        policy_device: None is that of the environments.

    Returns:
        Results of exactly M episodes on the environments' device, grouped by environment.

    Raises:
        ConfigError: If ``num_episodes`` is below 1.
    """
    if num_episodes < 1:
        raise ConfigError(f"The number of episodes must be at least 1, got {num_episodes}.")
    num_envs, device, policy_device = env.num_envs, env.device, policy_device or env.device
    overflow = -(-num_episodes // num_envs)
    quota = num_episodes // num_envs + (torch.arange(num_envs, device=device) < num_episodes % num_envs).long()
    # an episode beyond its environment's quota, or still running, goes to a column that is not counted
    returns = torch.zeros(num_envs, overflow + 1, dtype=torch.float64, device=device)
    lengths = torch.zeros(num_envs, overflow + 1, dtype=torch.long, device=device)
    succeeded = torch.full_like(returns, torch.nan)
    successes = Successes(num_envs, device)
    reported: dict[str, Tensor] = {}
    ended = torch.zeros_like(quota)
    running_return, running_length = torch.zeros_like(returns[:, 0]), torch.zeros_like(lengths[:, 0])

    obs, reset_policy = start_episodes(env, policy, policy_device)
    with progress_bar("Evaluating", "episodes", progress) as bar:
        task, count = bar.add_task("", total=num_episodes, ended=0), 0.0
        while count < num_episodes:
            for _ in range(STEPS_PER_CHECK):
                obs, rewards, dones, extras = env.step(policy(obs.to(policy_device)).to(device))
                done = dones.reshape(-1) > 0
                running_return += rewards.reshape(-1)
                running_length += 1
                column = torch.where(done, ended, overflow).unsqueeze(1)
                returns.scatter_(1, column, running_return.unsqueeze(1))
                lengths.scatter_(1, column, running_length.unsqueeze(1))
                if (success := successes.update(extras, done)) is not None:
                    succeeded.scatter_(1, column, success.unsqueeze(1))
                for name, value in extras.get("metrics", {}).items():
                    table = reported.setdefault(name, torch.full_like(returns, torch.nan))
                    table.scatter_(1, column, value.to(table).unsqueeze(1))
                ended = torch.minimum(ended + done.long(), quota)
                running_return.masked_fill_(done, 0.0)
                running_length.masked_fill_(done, 0)
                reset_policy(dones.to(policy_device))
            # a running episode counts by its share of the time limit
            partial = (running_length / env.max_episode_length).clamp(max=0.99) * (ended < quota)
            count, running = torch.stack([ended.sum(), partial.sum()]).tolist()
            bar.update(task, completed=count + running, ended=int(count))
            if on_progress is not None:
                on_progress((count + running) / num_episodes)

    counted = torch.arange(overflow, device=device) < quota.unsqueeze(1)
    success = succeeded[:, :overflow][counted]
    return EpisodeResults(
        returns[:, :overflow][counted],
        lengths[:, :overflow][counted],
        None if bool(success.isnan().all()) else success.nan_to_num(0.0),
        {name: table[:, :overflow][counted] for name, table in reported.items()},
    )


def scalars(results: EpisodeResults) -> dict[str, float]:
    """Return the scalars of an evaluation by their names in the log."""
    numbers = {MEAN_RETURN: results.returns.mean(), "Evaluation/mean_episode_length": results.lengths.double().mean()}
    if results.success is not None:
        numbers["Evaluation/success"] = results.success.mean()
    numbers |= {f"Evaluation/{name}": values.nanmean() for name, values in results.metrics.items()}
    return {name: value.item() for name, value in numbers.items()}


class SameStart:
    """Lets several policies start from the counters and curricula that the environments have at this moment."""

    def __init__(self, env: VecEnv) -> None:
        self._env, self._progress = env, host_progress(env)

    def restore(self, seed: int) -> None:
        """Restore counters and curricula, and seed the simulators and torch, without the hosts' output."""
        with contextlib.redirect_stdout(io.StringIO()):
            if self._progress is not None:
                set_host_progress(self._env, self._progress)
            if hasattr(self._env, "seed"):  # RSL-RL's base class lacks it, every host has it
                self._env.seed(seed)  # type: ignore[attr-defined]
        torch.manual_seed(seed)
