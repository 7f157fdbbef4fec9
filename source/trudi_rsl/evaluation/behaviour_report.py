# SPDX-License-Identifier: BSD-3-Clause
"""From checkpoints to their behaviour: a row of a table, a JSON file and a picture for each."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.table import Table

from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.behaviour import Behaviour, record
from trudi_rsl.evaluation.behaviour_plots import SUFFIXES, behaviour_figure
from trudi_rsl.evaluation.checkpoints import subject_of
from trudi_rsl.evaluation.files import unused_stem
from trudi_rsl.evaluation.play import settings
from trudi_rsl.evaluation.policies import HAVE_NO_CHAIN, Algorithm, SamplerCfg, load_policy
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.tasks import BehaviourModes, modes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        """See :func:`~trudi_rsl.evaluation.behaviour_plots.behaviour_figure`."""
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
