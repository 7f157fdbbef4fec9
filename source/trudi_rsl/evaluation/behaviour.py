# SPDX-License-Identifier: BSD-3-Clause
"""Behaviour modes of a policy: episodes from one fixed start, counted, tabulated and drawn by mode."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.box import SIMPLE
from rich.table import Table
from rsl_rl.env import VecEnv

from trudi_rsl.choices import MODE_RUNS, NAMES
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.episodes import Policy, progress_bar, start_episodes
from trudi_rsl.evaluation.identify import Subject, load_run_settings
from trudi_rsl.evaluation.modes import Array, BehaviourModes
from trudi_rsl.evaluation.pictures import SUFFIXES, Figure, new_figure, save_pictures, style_axes
from trudi_rsl.evaluation.policies import Simulation, load_policy
from trudi_rsl.evaluation.samplers import GAUSSIAN_POLICIES, SamplerCfg
from trudi_rsl.files import unused_stem

FAILURE = "failure"
"""Name of the mode of failed runs."""
FAILURE_COLOR, OUTLINE_COLORS = "0.55", ("0.85", "0.7")


def behaviour_entropy(counts: Sequence[int]) -> float:
    """Return ``H = -sum_m p_m log2 p_m`` over the successful runs, in bits: 0 for one mode, 1 for two equal ones.

    NaN if there are none. ``counts`` are the successful runs of each mode ``[M]``.
    """
    total = sum(counts)
    shares = (count / total for count in counts if count)
    return sum(share * math.log2(1.0 / share) for share in shares) if total else math.nan


@torch.no_grad()
def record(env: VecEnv, policy: Policy, group: str = "policy", progress: bool = True) -> tuple[list[Array], Array]:
    """Reset all E environments and run one whole episode in each.

    Return the observations ``[L + 1, O]`` of a group in each run of L steps, the initial one first, and the returns
    ``[E]``. The progress bar counts the steps of the longest possible episode.

    Raises:
        ConfigError: If the environment does not provide the last observations of episodes, ``extras["final_obs"]``.
    """
    obs, _ = start_episodes(env, policy, env.device)
    seen, rewards = [obs[group].cpu()], []
    lengths = torch.zeros(env.num_envs, dtype=torch.long)
    limit = int(env.max_episode_length)
    with progress_bar("Running", "steps", progress) as bar:
        task = bar.add_task("", total=limit, ended=0)
        for step in range(1, limit + 1):
            obs, reward, dones, extras = env.step(policy(obs))
            done = dones.reshape(-1).cpu() > 0
            if bool(done.any()) and "final_obs" not in extras:
                raise ConfigError("The environment does not provide the last observations of its episodes (final_obs).")
            seen.append(extras.get("final_obs", obs)[group].cpu())
            rewards.append(reward.reshape(-1).cpu())
            lengths[done & (lengths == 0)] = step
            bar.update(task, completed=step, ended=step)
            if bool((lengths > 0).all()):
                break
    observations, gained = torch.stack(seen, dim=1).double(), torch.stack(rewards, dim=1).double()
    gained[torch.arange(gained.shape[1]) >= lengths[:, None]] = 0.0
    runs = [observations[i, : length + 1].numpy() for i, length in enumerate(lengths.tolist())]
    return runs, gained.sum(dim=1).numpy()


@dataclass(frozen=True)
class Behaviour:
    """R runs of a policy from a fixed start, classified."""

    runs: Sequence[Array]
    """Observations of each run, ``[L + 1, O]``."""
    returns: Array
    """``[R]``."""
    modes: Sequence[str | None]
    """Name of each run's mode, None for a failed run."""
    names: tuple[str, ...]
    """The task's modes."""

    @classmethod
    def classify(cls, runs: Sequence[Array], returns: Array, modes: BehaviourModes) -> Behaviour:
        """Classify runs by the task's modes."""
        indices = [modes.classify(run) for run in runs]
        return cls(runs, returns, [None if i is None else modes.names[i] for i in indices], modes.names)

    @property
    def counts(self) -> dict[str, int]:
        """Runs of each mode, without failed ones."""
        return {name: self.modes.count(name) for name in self.names}

    @property
    def failures(self) -> int:
        """Failed runs."""
        return self.modes.count(None)

    @property
    def entropy(self) -> float:
        """:func:`behaviour_entropy` of the counts."""
        return behaviour_entropy(list(self.counts.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: totals, and a row for each run. Without a success the entropy is None."""
        return {
            "num_runs": len(self.modes),
            "counts": self.counts,
            "failures": self.failures,
            "behaviour_entropy_bits": None if math.isnan(self.entropy) else self.entropy,
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std(ddof=1)) if len(self.modes) > 1 else None,
            "runs": [
                {"mode": mode or FAILURE, "return": gained, "length": len(run) - 1}
                for mode, gained, run in zip(self.modes, self.returns.tolist(), self.runs, strict=True)
            ],
        }


@dataclass(frozen=True)
class PolicyBehaviour:
    """The behaviour of one trained policy, and how it was measured."""

    subject: Subject
    sampler: SamplerCfg
    seed: int
    """Seed of simulator and sampler."""
    modes: BehaviourModes
    behaviour: Behaviour

    def save(self, folder: Path) -> list[Path]:
        """Write ``modes.json``, ``.png`` and ``.svg``, numbered if they exist, and return the files."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / unused_stem(folder, "modes", (".json", *SUFFIXES))
        numbers = {
            "task": self.subject.task,
            "checkpoint": str(self.subject.checkpoint),
            "algorithm": self.subject.algorithm,
            "sampler": {"name": self.sampler.sampler, **self.sampler.options()},
            "seed": self.seed,
            **self.behaviour.to_dict(),
        }
        table = stem.with_name(f"{stem.name}.json")
        table.write_text(f"{json.dumps(numbers, indent=2, allow_nan=False)}\n", encoding="utf-8")
        return [table, *save_pictures(self.figure(), stem)]

    def figure(self) -> Figure:
        """Return :func:`behaviour_figure` under a title."""
        gaussian = self.subject.algorithm in GAUSSIAN_POLICIES
        acting = {"ode": "mean", "sde": "sample"}[self.sampler.sampler] if gaussian else str(self.sampler)
        name = f"{self.subject.task}, {NAMES[self.subject.algorithm]}, {acting}"
        return behaviour_figure(self.behaviour, self.modes, f"{name}: H = {_format_bits(self.behaviour.entropy)} bits")


def measure_behaviour(
    subject: Subject,
    modes: BehaviourModes,
    simulation: Simulation,
    num_runs: int = MODE_RUNS,
    sampler: SamplerCfg | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = True,
) -> PolicyBehaviour:
    """Run a policy of a Gymnasium task from the fixed start and classify the runs by mode.

    Each run has an environment of its own. ``sampler`` None is the ODE, which starts at random if the policy has a
    chain or flow, unless the sampler says otherwise: from zeros, all runs would be the same. ``seed`` is that of
    simulator and sampler.
    """
    if num_runs < 1:
        raise ConfigError(f"The number of runs must be at least 1, got {num_runs}.")
    checkpoint, algorithm, sampler = subject.checkpoint, subject.algorithm, sampler or SamplerCfg()
    if sampler.sampler == "ode" and sampler.initial_latent is None and algorithm not in GAUSSIAN_POLICIES:
        sampler = replace(sampler, initial_latent="random")
    env, cfg = fixed_start_env(subject, modes, simulation, num_runs, device, seed)
    policy = load_policy(checkpoint, algorithm, env, cfg.agent, sampler, device, simulation.make_runner)
    torch.manual_seed(seed)
    behaviour = Behaviour.classify(*record(env, policy, progress=progress), modes)
    env.close()  # pyright: ignore[reportAttributeAccessIssue]
    return PolicyBehaviour(subject, sampler, seed, modes, behaviour)


def fixed_start_env(
    subject: Subject, modes: BehaviourModes, simulation: Simulation, num_envs: int, device: str, seed: int
) -> tuple[VecEnv, DictConfig]:
    """Return environments of a policy's task whose episodes all start in the same state, and the run's settings."""
    task, overrides = subject.task, [f"env.num_envs={num_envs}"]
    cfg = load_run_settings(subject.checkpoint, task, subject.algorithm, overrides, simulation.find_host(task))
    cfg.env.env_kwargs = {**(cfg.env.env_kwargs or {}), **modes.fixed_start}
    return simulation.make_ending(task, cfg.env, device, seed), cfg


def behaviour_figure(behaviour: Behaviour, modes: BehaviourModes, title: str) -> Figure:
    """Draw every run in the plane, and over time the coordinate in which the modes differ."""
    figure = new_figure(9.0, 4.2, title)
    plane, over_time = figure.subplots(1, 2)
    for i, (name, corners) in enumerate(modes.outlines.items()):
        color = OUTLINE_COLORS[i % len(OUTLINE_COLORS)]
        plane.fill(*corners.T, facecolor=color, edgecolor="none", alpha=0.6, label=name)
    colors = {None: FAILURE_COLOR, **{name: f"C{i}" for i, name in enumerate(behaviour.names)}}
    alpha = max(0.15, min(0.8, 20.0 / len(behaviour.modes)))
    for run, mode in zip(behaviour.runs, behaviour.modes, strict=True):
        style = {"color": colors[mode], "linewidth": 0.8, "alpha": alpha}
        path = modes.path(run)
        plane.plot(*path.T, **style)
        plane.plot(*path[-1], marker=".", markersize=3, **style)
        over_time.plot(modes.coordinate(run), **style)
    total = len(behaviour.modes)
    for name, count in behaviour.counts.items():
        plane.plot([], [], color=colors[name], label=f"{name}: {count} of {total}")
    if behaviour.failures:
        plane.plot([], [], color=FAILURE_COLOR, label=f"{FAILURE}: {behaviour.failures} of {total}")
    figure.legend(loc="outside lower center", ncols=len(modes.outlines) + 3, frameon=False, fontsize="small")
    plane.set_aspect("equal", adjustable="box")
    plane.autoscale_view()
    style_axes(plane, "x (m)", "y (m)", grid=False)
    over_time.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    style_axes(over_time, "Environment step", modes.coordinate_name, grid=False)
    return figure


def behaviour_table(measured: Sequence[PolicyBehaviour]) -> Table:
    """Return a table to print, a row for each policy."""
    tasks = {result.subject.task: None for result in measured}
    caption = "bits: entropy of the modes, 0 for a single one, 1 for two in balance"
    table = Table(title=", ".join(tasks), caption=caption, box=SIMPLE)
    for name in (*(["task"] if len(tasks) > 1 else []), "run", "algorithm"):
        table.add_column(name, overflow="fold")
    for name in ("return", "episodes", "failed", "bits"):
        table.add_column(name, justify="right")
    for result in measured:
        subject, behaviour = result.subject, result.behaviour
        table.add_row(
            *([subject.task] if len(tasks) > 1 else []),
            f"{subject.checkpoint.parent.name}\n{subject.checkpoint.name}",
            subject.algorithm,
            f"{behaviour.returns.mean():.2f}",
            "\n".join(f"{name} {count}" for name, count in behaviour.counts.items()),
            str(behaviour.failures),
            _format_bits(behaviour.entropy),
        )
    return table


def _format_bits(entropy: float) -> str:
    return "-" if math.isnan(entropy) else f"{entropy:.2f}"
