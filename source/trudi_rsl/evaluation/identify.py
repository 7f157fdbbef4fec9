# SPDX-License-Identifier: BSD-3-Clause
"""From what a user names on the command line to checkpoints, and what is known about each of them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import NAMES, Algorithm, algorithm_of, check_task, learner_spec, task_of
from trudi_rsl.config import compose, find_checkpoint, load_params, resume_path
from trudi_rsl.config.schema import GYMNASIUM, HostSettings
from trudi_rsl.errors import CheckpointError, ConfigError, nearest
from trudi_rsl.settings import SETTINGS

CHECKPOINTS = "model_*.pt"
IGNORED_SETTINGS = (
    *("seed", "device", "num_threads", "experiment_name", "run_name", "logger", "wandb_project", "neptune_project"),
    *("resume", "load_run", "load_checkpoint", "save_interval", "check_for_nan"),
    *("evaluation_episodes", "keep_checkpoints", "export_checkpoints"),
)
"""Settings of RSL-RL's runner in which the seeds of a group may differ."""
MAX_LISTED = 4


@dataclass(frozen=True)
class Subject:
    """A trained policy to evaluate."""

    checkpoint: Path
    algorithm: Algorithm
    task: str
    label: str
    """Name of the group that it is a seed of; the algorithm unless the user set one."""
    seed: int | None = None
    """Seed it was trained with; None without saved settings."""
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Dotted names to values of its training settings without :data:`IGNORED_SETTINGS`; empty if unknown."""


def identify(path: Path, task: str, algorithm: Algorithm | None = None) -> Algorithm:
    """Return the algorithm that wrote a checkpoint; raise CheckpointError if it or the task is another one."""
    checkpoint = read_checkpoint(path)
    # model_state_dict: PPO of RSL-RL 3
    if not {"actor_state_dict", "model_state_dict"} & checkpoint.keys():
        raise CheckpointError(f"{path} is not a checkpoint of RSL-RL or TruDi.")
    found = algorithm_of(checkpoint)
    if algorithm not in (None, found):
        raise CheckpointError(
            f"{path} is a checkpoint of {found}, not of {algorithm}. Use --algo {found} or leave it out."
        )
    if found in SETTINGS:
        learner_spec(checkpoint, task)
    else:
        check_task(task_of(checkpoint), task)
    return found


def find_subjects(named: Sequence[str]) -> list[Subject]:
    """Return the policies that the arguments name, in their order and without duplicates.

    An argument is a checkpoint, a run folder (its newest checkpoint), a folder above those, or a pattern of these
    (``*``, ``?``, ``**``); ``NAME=PATH`` also sets the group's name.

    Raises CheckpointError if nothing is named; if a path does not exist (with the nearest names), holds no checkpoint,
    or one without its task's name; or if two checkpoints are the same seed of one group.
    """
    if not named:
        raise CheckpointError("No checkpoint, run folder or pattern was given.")
    found: dict[Path, Subject] = {}
    for text in named:
        label, pattern = _split_label(text)
        for checkpoint in find_checkpoints(pattern):
            found.setdefault(checkpoint.resolve(), read_subject(checkpoint, label))
    seeds: dict[tuple[str, str, int | None], Subject] = {}
    for subject in found.values():
        other = seeds.setdefault((subject.label, subject.task, subject.seed), subject)
        if other is not subject and subject.seed is not None:
            raise CheckpointError(
                f"{other.checkpoint} and {subject.checkpoint} are both seed {subject.seed} of {subject.label!r} on "
                f"{subject.task}, so they are not independent. Give one of them, or name their groups: NAME=PATH."
            )
    return list(found.values())


def read_subject(checkpoint: Path, label: str | None = None) -> Subject:
    """Return what a checkpoint and the settings beside it say about a policy, whose default label is its algorithm.

    Raises CheckpointError if its task is unknown.
    """
    task, seed, settings = task_of(read_checkpoint(checkpoint)), None, {}
    try:
        params = load_params(checkpoint.parent)
    except CheckpointError:  # outside of a run folder, or another program's settings
        pass
    else:
        task, seed = task or params.task, OmegaConf.select(params, "agent.seed")
        settings = dict(_flatten({"agent": params.agent, "env": params.env}))
    if task is None:
        raise CheckpointError(f"{checkpoint} does not name the task it was trained on; play it with scripts/play.py.")
    algorithm = identify(checkpoint, task)
    kept = {name: value for name, value in settings.items() if name.removeprefix("agent.") not in IGNORED_SETTINGS}
    return Subject(checkpoint, algorithm, task, label or algorithm, seed, kept)


def describe_mixtures(subjects: Iterable[Subject]) -> list[str]:
    """Return a sentence for each group whose runs were trained with different settings, naming the settings."""
    groups: dict[tuple[str, str], list[Subject]] = {}
    for subject in subjects:
        if subject.settings:
            groups.setdefault((subject.label, subject.task), []).append(subject)
    sentences = []
    for (label, task), members in groups.items():
        mixed = []
        for name in dict.fromkeys(name for member in members for name in member.settings):
            values = dict.fromkeys(str(member.settings.get(name)) for member in members)
            if len(values) > 1:
                mixed.append(f"{name} ({', '.join(values)})")
        if mixed:
            more = f" and {len(mixed) - MAX_LISTED} more" if len(mixed) > MAX_LISTED else ""
            sentences.append(
                f"{label} on {task} mixes runs of different settings: {', '.join(mixed[:MAX_LISTED])}{more}. NAME=PATH "
                "keeps them apart."
            )
    return sentences


def find_checkpoints(pattern: str) -> list[Path]:
    """Return the checkpoints that one argument of :func:`find_subjects`, without a label, names.

    Raises CheckpointError if there are none, with the nearest names.
    """
    path = Path(pattern)
    if path.is_file():
        return [path]
    if path.is_dir():
        runs = [path] if any(path.glob(CHECKPOINTS)) else sorted({file.parent for file in path.rglob(CHECKPOINTS)})
        if not runs:
            raise CheckpointError(f"No checkpoint ({CHECKPOINTS}) in {path} or below it.")
        return [newest_checkpoint(run) for run in runs]
    if not glob.has_magic(pattern):
        raise CheckpointError(f"Nothing at {pattern}. {_nearest_paths(path)}")
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    folders = [newest_checkpoint(match) for match in matches if match.is_dir() and any(match.glob(CHECKPOINTS))]
    found = [*folders, *(match for match in matches if match.is_file() and match.match(CHECKPOINTS))]
    if not found:
        what = f"{len(matches)} paths, of which none is a checkpoint or a run folder" if matches else "nothing"
        raise CheckpointError(f"The pattern {pattern!r} matches {what}.")
    return found


def newest_checkpoint(run: Path) -> Path:
    """Return the newest checkpoint of a run folder; raise CheckpointError if it has none."""
    run = run.absolute()
    return find_checkpoint(run.parent, f"{re.escape(run.name)}$")


def find_played(
    task: str,
    algorithm: Algorithm,
    experiment_name: str | None = None,
    load_run: str | None = None,
    checkpoint: str | None = None,
    host: HostSettings = GYMNASIUM,
) -> Path:
    """Return the checkpoint to play, selected as by Isaac Lab's flags.

    ``load_run`` is a regular expression of the run folder's name; ``checkpoint`` is a file, a run folder, or a regular
    expression of file names. None takes the newest. If no path is named, runs of the algorithm are searched. ``host``
    is the task's.

    Raises CheckpointError if there is none, ConfigError if a regular expression is malformed.
    """
    named = {"resume": True, "experiment_name": experiment_name, "load_run": load_run, "load_checkpoint": checkpoint}
    settings = {f"agent.{name}": value for name, value in named.items()}
    path = resume_path(compose(task, algorithm, settings=settings, host=host))
    assert path is not None, "resume is set"
    return path


def load_run_settings(
    checkpoint: Path,
    task: str,
    algorithm: Algorithm,
    overrides: Sequence[str] = (),
    host: HostSettings = GYMNASIUM,
) -> DictConfig:
    """Return the ``agent`` and ``env`` settings of a checkpoint's run, with overrides ``env.name=value`` applied.

    A checkpoint of TruDi's learner outside of a run folder gets the task's preset. ``host`` is the task's.

    Raises:
        CheckpointError: If a checkpoint of PPO or a relative lies outside of a run folder, or the run's settings cannot
            be read.
        ConfigError: If an override is not one of ``env``, or the configuration refuses its name or value.
    """
    for text in overrides:
        if not text.lstrip("+").startswith("env."):
            raise ConfigError(f"Cannot override {text!r} here: the trained agent is fixed. Override env.* settings.")
    preset = compose(task, algorithm, overrides, host=host)
    if algorithm in SETTINGS and not (checkpoint.parent / "params").exists():
        return preset
    try:
        cfg = load_params(checkpoint.parent, host.env_cfg)
    except CheckpointError as error:
        advice = f"A {NAMES[algorithm]} policy can only be rebuilt with the settings of its run."
        if algorithm in SETTINGS:
            advice = "Copy the checkpoint elsewhere to play it with the task's preset."
        raise CheckpointError(f"{error} {advice}") from error
    for text in overrides:
        key = text.lstrip("+").partition("=")[0]
        OmegaConf.update(cfg, key, OmegaConf.select(preset, key), force_add=True)
    return cfg


def _flatten(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and values of a nested section."""
    for name, value in section.items():
        if isinstance(value, (Mapping, DictConfig)):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _split_label(text: str) -> tuple[str | None, str]:
    """Split ``NAME=PATH``; without a name the first part is None."""
    label, _, pattern = text.partition("=")
    is_path = "=" not in text or os.path.lexists(text) or "/" in label or not label.strip()
    return (None, text) if is_path else (label.strip(), pattern)


def _nearest_paths(path: Path) -> str:
    """Return the names nearest to the first part of the path that does not exist."""
    for depth, name in enumerate(path.parts):
        parent = Path(*path.parts[:depth])
        if not (parent / name).exists():
            names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
            where = "this folder" if parent == Path() else str(parent)
            hint = nearest(name, names) if names else "It is empty."
            return f"In {where} there is no {name!r}." + (f" {hint}" if len(hint) < 300 else "")
    return ""
