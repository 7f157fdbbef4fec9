# SPDX-License-Identifier: BSD-3-Clause
"""From what a user names on the command line to a checkpoint and the settings it is played with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rsl_rl.env import VecEnv

from trudi_rsl.checkpoints.format import NAMES, Algorithm
from trudi_rsl.config import compose, load_params, resume_path
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.evaluation.episodes import Policy, evaluate
from trudi_rsl.settings import SETTINGS

if TYPE_CHECKING:
    from trudi_rsl.evaluation.statistics import Summary

STATISTICS = ("mean", "std", "IQM", "episodes")
"""Columns that tables of returns have."""


def find(
    task: str,
    algorithm: Algorithm,
    experiment_name: str | None = None,
    load_run: str | None = None,
    checkpoint: str | None = None,
) -> Path:
    """Return the checkpoint to play, named as Isaac Lab does.

    Args:
        task: Task name.
        algorithm: Whose runs to look among when ``checkpoint`` is not a path.
        experiment_name: Folder of the runs; None takes the task's.
        load_run: Regular expression of the run folder's name; None takes any, the newest counts.
        checkpoint: A file, a run folder, or a regular expression of file names in the run; None takes the newest.

    Raises:
        CheckpointError: If there is none.
        ConfigError: If a regular expression is malformed.
    """
    named = {
        "agent.resume": True,
        "agent.experiment_name": experiment_name,
        "agent.load_run": load_run,
        "agent.load_checkpoint": checkpoint,
    }
    path = resume_path(compose(task, algorithm, settings=named))
    assert path is not None, "resume is set"
    return path


def settings(checkpoint: Path, task: str, algorithm: Algorithm, overrides: Sequence[str] = ()) -> DictConfig:
    """Return ``agent`` and ``env`` settings to play a checkpoint with: those of its run, then the overrides.

    A checkpoint of TruDi's learner outside of a run folder gets the task's preset.

    Args:
        checkpoint: A ``model_*.pt``.
        task: Task name.
        algorithm: Algorithm of the checkpoint.
        overrides: ``env.name=value``; an agent is as it was trained.

    Raises:
        CheckpointError: If a checkpoint of PPO or a relative lies outside of a run folder, or the run's settings cannot
            be read.
        ConfigError: If an override is not one of ``env``, or its name or value is refused by the configuration.
    """
    for text in overrides:
        if not text.lstrip("+").startswith("env."):
            raise ConfigError(
                f"Cannot override {text!r} here: the policy is as it was trained. Override env.* settings."
            )
    preset = compose(task, algorithm, overrides)
    if algorithm in SETTINGS and not (checkpoint.parent / "params").exists():
        return preset
    try:
        cfg = load_params(checkpoint.parent)
    except CheckpointError as error:
        if algorithm not in SETTINGS:
            raise CheckpointError(
                f"{error} A {NAMES[algorithm]} policy can only be rebuilt with the settings of its run."
            ) from error
        raise CheckpointError(f"{error} Copy the checkpoint elsewhere to play it with the task's preset.") from error
    for text in overrides:
        key = text.lstrip("+").partition("=")[0]
        OmegaConf.update(cfg, key, OmegaConf.select(preset, key), force_add=True)
    return cfg


def evaluate_and_print(env: VecEnv, policy: Policy, episodes: int, title: str) -> None:
    """Run whole episodes and print the statistics of their returns.

    Args:
        env: The environments; all are reset.
        policy: Gives the actions.
        episodes: Number of episodes, at least 1.
        title: What is played, above the table.
    """
    from trudi_rsl.evaluation.statistics import summarize  # needs the `eval` extra

    results = evaluate(env, policy, episodes)
    print(f"Returns on {title}:")
    Console().print(summary_table(summarize(results.returns.cpu())))


def summary_table(summary: Summary) -> Table:
    """Return the statistics of returns as a table to print."""
    table = Table()
    for name in STATISTICS:
        table.add_column(name, justify="right")
    table.add_row(*summary_cells(summary))
    return table


def summary_cells(summary: Summary) -> tuple[str, ...]:
    """Return the statistics of returns as texts, in the order of :data:`STATISTICS`."""
    std = "-" if math.isnan(summary.std) else _text(summary.std)
    return _text(summary.mean), std, _text(summary.iqm), str(summary.count)


def _text(value: float) -> str:
    """Return a number with two decimals, one below 1 with three digits: hosts that scale rewards by time pay little."""
    return f"{value:.2f}" if abs(value) >= 1.0 else f"{value:.3g}"
