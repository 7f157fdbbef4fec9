# SPDX-License-Identifier: BSD-3-Clause
"""Behaviour modes of a policy: episodes from one fixed start, counted, reported and drawn by mode."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table
from rsl_rl.env import VecEnv

from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.checkpoints import subject_of
from trudi_rsl.evaluation.episodes import Policy
from trudi_rsl.evaluation.files import unused_stem
from trudi_rsl.evaluation.play import settings
from trudi_rsl.evaluation.policies import HAVE_NO_CHAIN, Algorithm, SamplerCfg, load_policy
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.tasks import BehaviourModes, modes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FAILURE = "failure"
"""What stands for the mode of a run that failed."""


def behaviour_entropy(counts: Sequence[int]) -> float:
    """Return ``H = -sum_m p_m log2 p_m`` over the runs that succeeded, in bits: 0 for one mode, 1 for two in balance.

    Args:
        counts: Runs of each mode ``[M]``. Runs that failed are of no mode.

    Returns:
        NaN if there are no runs.
    """
    total = sum(counts)
    if total == 0:
        return math.nan
    shares = (count / total for count in counts if count)
    return sum(share * math.log2(1.0 / share) for share in shares)


@dataclass(frozen=True)
class Trajectory:
    """One run."""

    observations: NDArray[np.float64]
    """What the policy saw and where that led, ``[L + 1, O]`` for L steps."""
    episode_return: float
    """Undiscounted sum of rewards."""


@torch.no_grad()
def record(env: VecEnv, policy: Policy, group: str = "policy", progress: bool = True) -> list[Trajectory]:
    """Run one whole episode in every environment.

    Args:
        env: The environments; all are reset with ``env.reset()``. Where an episode ends, its last observation is taken
            from ``extras["final_obs"]``.
        policy: Gives the actions.
        group: Observation group to record.
        progress: Show a progress bar over the steps of the longest episode that can be, with the time left.

    Returns:
        E runs.

    Raises:
        ConfigError: If the environment does not tell an episode's last observation.
    """
    obs, _ = env.reset()  # type: ignore[attr-defined]  # RSL-RL's base class lacks it, every host has it
    if (reset_policy := getattr(policy, "reset", None)) is not None:
        reset_policy(torch.ones(env.num_envs, device=env.device))
    seen, rewards = [obs[group].cpu()], []
    lengths = torch.zeros(env.num_envs, dtype=torch.long)
    for step in track(range(1, env.max_episode_length + 1), "Running", transient=True, disable=not progress):
        obs, reward, dones, extras = env.step(policy(obs))
        done = dones.reshape(-1).cpu() > 0
        if bool(done.any()) and "final_obs" not in extras:
            raise ConfigError("The environment does not tell where its episodes ended (extras['final_obs']).")
        seen.append(extras.get("final_obs", obs)[group].cpu())
        rewards.append(reward.reshape(-1).cpu())
        lengths[done & (lengths == 0)] = step
        if bool((lengths > 0).all()):
            break
    observations = torch.stack(seen, dim=1).double().numpy()
    gained = torch.stack(rewards, dim=1).double().numpy()
    return [
        Trajectory(observations[i, : length + 1], float(gained[i, :length].sum()))
        for i, length in enumerate(lengths.tolist())
    ]


@dataclass(frozen=True)
class Behaviour:
    """What the runs of a policy from a fixed start showed."""

    trajectories: Sequence[Trajectory]
    """The runs."""
    modes: Sequence[str | None]
    """Name of each run's mode, None where it failed."""
    names: tuple[str, ...]
    """The task's modes."""

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory], modes: BehaviourModes) -> Behaviour:
        """Classify runs by the task's modes."""
        indices = [modes.classify(run.observations) for run in trajectories]
        return cls(trajectories, [None if i is None else modes.names[i] for i in indices], modes.names)

    @property
    def counts(self) -> dict[str, int]:
        """Runs of each mode."""
        return {name: self.modes.count(name) for name in self.names}

    @property
    def failures(self) -> int:
        """Runs that failed."""
        return self.modes.count(None)

    @property
    def entropy(self) -> float:
        """See :func:`behaviour_entropy`."""
        return behaviour_entropy(list(self.counts.values()))

    @property
    def returns(self) -> NDArray[np.float64]:
        """Returns of the runs, ``[R]``."""
        return np.array([run.episode_return for run in self.trajectories])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: totals, and a row for each run. The entropy of no success is None."""
        entropy = self.entropy
        return {
            "num_runs": len(self.modes),
            "counts": self.counts,
            "failures": self.failures,
            "behaviour_entropy_bits": None if math.isnan(entropy) else entropy,
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std(ddof=1)) if len(self.modes) > 1 else None,
            "runs": [
                {"mode": mode or FAILURE, "return": run.episode_return, "length": len(run.observations) - 1}
                for mode, run in zip(self.modes, self.trajectories, strict=True)
            ],
        }


try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon
except ImportError as error:
    raise ImportError('Plots need matplotlib: pip install "trudi_rsl[eval]"') from error


SUFFIXES = (".png", ".svg")
FAILURE_COLOR = "0.55"
OUTLINE_COLORS = ("0.85", "0.7")


def behaviour_figure(behaviour: Behaviour, modes: BehaviourModes, title: str) -> Figure:
    """Draw every run in the plane, and over time the number that the modes differ in.

    Args:
        behaviour: The runs.
        modes: Those of the task.
        title: Above the picture.
    """
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    plane, over_time = figure.subplots(1, 2)
    figure.suptitle(title, fontsize="medium")
    for i, (name, corners) in enumerate(modes.outlines.items()):
        color = OUTLINE_COLORS[i % len(OUTLINE_COLORS)]
        plane.add_patch(Polygon(corners, closed=True, facecolor=color, edgecolor="none", alpha=0.6, label=name))
    colors = {name: f"C{i}" for i, name in enumerate(behaviour.names)}
    width, alpha = 0.8, max(0.15, min(0.8, 20.0 / len(behaviour.modes)))
    for run, mode in zip(behaviour.trajectories, behaviour.modes, strict=True):
        style = {"color": FAILURE_COLOR if mode is None else colors[mode], "linewidth": width, "alpha": alpha}
        path = modes.path(run.observations)
        plane.plot(path[:, 0], path[:, 1], **style)
        plane.plot(*path[-1], marker=".", markersize=3, **style)
        over_time.plot(np.arange(len(run.observations)), modes.coordinate(run.observations), **style)
    _legend(plane, behaviour, colors)
    plane.set_aspect("equal", adjustable="datalim")
    plane.autoscale_view()
    plane.set_xlabel("x (m)", fontsize="small")
    plane.set_ylabel("y (m)", fontsize="small")
    over_time.set_xlabel("Environment step", fontsize="small")
    over_time.set_ylabel(modes.coordinate_name, fontsize="small")
    over_time.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    for axes in (plane, over_time):
        axes.tick_params(labelsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _legend(axes: Axes, behaviour: Behaviour, colors: dict[str, str]) -> None:
    """Name the modes with their runs, failures and the outlines."""
    for name, count in behaviour.counts.items():
        axes.plot([], [], color=colors[name], label=f"{name}: {count} runs")
    if behaviour.failures:
        axes.plot([], [], color=FAILURE_COLOR, label=f"{FAILURE}: {behaviour.failures} runs")
    axes.legend(frameon=False, fontsize="x-small", loc="best")


NUM_RUNS = 200
"""Runs that the paper counts."""


@dataclass(frozen=True)
class Measurement:
    """The behaviour of one policy."""

    checkpoint: Path
    task: str
    algorithm: Algorithm
    sampler: SamplerCfg
    seed: int
    """Seed of simulator and sampler."""
    modes: BehaviourModes
    behaviour: Behaviour

    @property
    def title(self) -> str:
        """What was run, and its entropy."""
        return f"{self.task}, {self.algorithm}, {self.sampler.sampler}: H = {_bits(self.behaviour.entropy)} bits"

    def figure(self) -> Figure:
        """See :func:`~trudi_rsl.evaluation.behaviour.behaviour_figure`."""
        return behaviour_figure(self.behaviour, self.modes, self.title)

    def save(self, folder: Path) -> list[Path]:
        """Write ``modes.json``, ``.png`` and ``.svg``, numbered where there are such, and return the three files."""
        folder.mkdir(parents=True, exist_ok=True)
        stem = unused_stem(folder, "modes", (".json", *SUFFIXES))
        files = [folder / f"{stem}{suffix}" for suffix in (".json", *SUFFIXES)]
        about = {
            "task": self.task,
            "checkpoint": str(self.checkpoint),
            "algorithm": self.algorithm,
            "sampler": {"name": self.sampler.sampler, **self.sampler.given()},
            "seed": self.seed,
        }
        text = json.dumps({**about, **self.behaviour.to_dict()}, indent=2, allow_nan=False)
        files[0].write_text(f"{text}\n", encoding="utf-8")
        figure = self.figure()
        for file in files[1:]:
            figure.savefig(file, dpi=150)
        return files


def measure(
    checkpoint: Path,
    num_runs: int = NUM_RUNS,
    sampler: SamplerCfg | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = True,
) -> Measurement:
    """Run a policy from its task's fixed start and sort the runs by mode.

    Args:
        checkpoint: A ``model_*.pt`` of a task of Gymnasium with registered modes.
        num_runs: Runs, at least 1; each has an environment of its own.
        sampler: How the policy acts; None takes the ODE. The ODE of a policy with a chain or flow starts at random
            unless the sampler says otherwise: from zeros, all runs would be one.
        seed: Seed of simulator and sampler.
        device: Where to compute.
        progress: Show a progress bar.

    Raises:
        CheckpointError: If there is no such checkpoint, or it does not fit its task.
        ConfigError: If the task has no registered modes, or a value is impossible.
    """
    if num_runs < 1:
        raise ConfigError(f"The number of runs must be at least 1, got {num_runs}.")
    subject = subject_of(checkpoint)
    task, algorithm = subject.task, subject.algorithm
    sampler = _from_random_starts(sampler or SamplerCfg(), algorithm)
    cfg = settings(checkpoint, task, algorithm, [f"env.num_envs={num_runs}"])
    modes = modes_of(task)
    cfg.env.env_kwargs = {**(cfg.env.env_kwargs or {}), **modes.fixed_start}
    env = make_env(task, cfg.env, device, seed)
    policy = load_policy(checkpoint, algorithm, env, cfg.agent, sampler, device)
    torch.manual_seed(seed)
    behaviour = Behaviour.of(record(env, policy, progress=progress), modes)
    env.close()  # pyright: ignore[reportAttributeAccessIssue]
    return Measurement(checkpoint, task, algorithm, sampler, seed, modes, behaviour)


def behaviour_table(measurements: Sequence[Measurement]) -> Table:
    """Return a table to print, a row for each policy."""
    table = Table()
    for name in ("task", "run", "algorithm"):
        table.add_column(name, overflow="fold")
    for name in ("return", "runs by mode", "failures", "H (bits)"):
        table.add_column(name, justify="right")
    for m in measurements:
        counts = ", ".join(f"{name} {count}" for name, count in m.behaviour.counts.items())
        run = str(Path(m.checkpoint.parent.name, m.checkpoint.name))
        table.add_row(
            *(m.task, run, m.algorithm, f"{m.behaviour.returns.mean():.2f}"),
            *(counts, str(m.behaviour.failures), _bits(m.behaviour.entropy)),
        )
    return table


def _from_random_starts(sampler: SamplerCfg, algorithm: Algorithm) -> SamplerCfg:
    if sampler.sampler != "ode" or sampler.initial_latent is not None or algorithm in HAVE_NO_CHAIN:
        return sampler
    return replace(sampler, initial_latent="random")


def _bits(entropy: float) -> str:
    return "-" if math.isnan(entropy) else f"{entropy:.2f}"
