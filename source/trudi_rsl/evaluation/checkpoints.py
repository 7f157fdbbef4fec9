# SPDX-License-Identifier: BSD-3-Clause
"""From what a user names on the command line to the checkpoints to evaluate."""

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
from trudi_rsl.checkpoints.format import task_of
from trudi_rsl.config import find_checkpoint, load_params
from trudi_rsl.errors import CheckpointError, nearest
from trudi_rsl.evaluation.policies import Algorithm, identify

CHECKPOINTS = "model_*.pt"
NO_MATTER = (
    *("seed", "device", "num_threads", "experiment_name", "run_name", "logger", "wandb_project", "neptune_project"),
    *("resume", "load_run", "load_checkpoint", "save_interval", "check_for_nan"),
    *("evaluation_episodes", "keep_checkpoints", "export_checkpoints"),
)
"""Settings of RSL-RL's runner that may differ between the seeds of a group."""
MOST_NAMED = 4
LONGEST_HINT = 300
"""Characters; longer lists of names in a folder help nobody."""


@dataclass(frozen=True)
class Subject:
    """A trained policy to evaluate."""

    checkpoint: Path
    algorithm: Algorithm
    task: str
    label: str
    """Name of the group that it is a seed of; the algorithm unless the user gave one."""
    seed: int | None = None
    """Seed that it was trained with; None where no settings lie beside it."""
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Dotted names to values of what it was trained with, without :data:`NO_MATTER`; empty where unknown."""


def find_subjects(named: Sequence[str]) -> list[Subject]:
    """Return the policies that the arguments name, each once, in their order.

    Args:
        named: Checkpoints, run folders (the newest checkpoint of each), folders above those, or patterns of such
            (``*``, ``?``, ``**``), each perhaps with the group's name before it, ``NAME=PATH``.

    Raises:
        CheckpointError: If nothing is named, a path does not exist (with the nearest names), holds no checkpoint or
            one that does not tell its task, or two checkpoints are the same seed of one group.
    """
    if not named:
        raise CheckpointError("No checkpoint, run folder or pattern was given.")
    found: dict[Path, Subject] = {}
    for text in named:
        label, pattern = _split(text)
        for checkpoint in checkpoints_of(pattern):
            found.setdefault(checkpoint.resolve(), subject_of(checkpoint, label))
    subjects = list(found.values())
    _require_distinct(subjects)
    return subjects


def subject_of(checkpoint: Path, label: str | None = None) -> Subject:
    """Return what a checkpoint tells of itself.

    Args:
        checkpoint: A ``model_*.pt``.
        label: Its group's name; None takes the algorithm's.

    Raises:
        CheckpointError: If it is no checkpoint, or does not tell its task.
    """
    content = read_checkpoint(checkpoint)
    task = task_of(content)
    seed, settings = None, {}
    try:
        params = load_params(checkpoint.parent)
    except CheckpointError:  # outside of a run folder, or another program's settings
        pass
    else:
        task, seed = task or params.task, OmegaConf.select(params, "agent.seed")
        settings = dict(_flat({"agent": params.agent, "env": params.env}))
    if task is None:
        raise CheckpointError(f"{checkpoint} does not tell the task it was trained on; play it with scripts/play.py.")
    algorithm = identify(checkpoint, task)
    kept = {name: value for name, value in settings.items() if name.removeprefix("agent.") not in NO_MATTER}
    return Subject(checkpoint, algorithm, task, label or algorithm, seed, kept)


def mixtures(subjects: Iterable[Subject]) -> list[str]:
    """Return a sentence for each group whose runs were trained with different settings, naming them."""
    groups: dict[tuple[str, str], list[Subject]] = {}
    for subject in subjects:
        if subject.settings:
            groups.setdefault((subject.label, subject.task), []).append(subject)
    sentences = []
    for (label, task), members in groups.items():
        values: dict[str, list[str]] = {}
        for name in dict.fromkeys(name for member in members for name in member.settings):
            values[name] = list(dict.fromkeys(str(member.settings.get(name)) for member in members))
        mixed = [f"{name} ({', '.join(found)})" for name, found in values.items() if len(found) > 1]
        if mixed:
            more = f" and {len(mixed) - MOST_NAMED} more" if len(mixed) > MOST_NAMED else ""
            sentences.append(
                f"{label} on {task} mixes runs of different settings: {', '.join(mixed[:MOST_NAMED])}{more}. NAME=PATH "
                "keeps them apart."
            )
    return sentences


def checkpoints_of(pattern: str) -> list[Path]:
    """Return the checkpoints that one argument names.

    Args:
        pattern: A checkpoint, a run folder (its newest checkpoint), a folder above those, or a pattern of such.

    Raises:
        CheckpointError: If there are none, with the nearest names.
    """
    if Path(pattern).is_file():
        return [Path(pattern)]
    if Path(pattern).is_dir():
        return _of_folder(Path(pattern))
    if not glob.has_magic(pattern):
        raise CheckpointError(f"Nothing at {pattern}. {_nearest_paths(Path(pattern))}")
    matches = [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
    folders = [newest_checkpoint(path) for path in matches if path.is_dir() and any(path.glob(CHECKPOINTS))]
    found = folders + [path for path in matches if path.is_file() and path.match(CHECKPOINTS)]
    if not found:
        what = f"{len(matches)} paths, of which none is a checkpoint or a run folder" if matches else "nothing"
        raise CheckpointError(f"The pattern {pattern!r} matches {what}.")
    return found


def newest_checkpoint(run: Path) -> Path:
    """Return the newest checkpoint of a run folder.

    Raises:
        CheckpointError: If it has none.
    """
    run = run.absolute()
    return find_checkpoint(run.parent, f"{re.escape(run.name)}$")


def _flat(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and values of a nested section."""
    for name, value in section.items():
        if isinstance(value, (Mapping, DictConfig)):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _split(text: str) -> tuple[str | None, str]:
    """Return the group's name, None if the text has none, and the path or pattern."""
    label, equals, pattern = text.partition("=")
    if not equals or os.path.lexists(text) or "/" in label or not label.strip():
        return None, text
    return label.strip(), pattern


def _of_folder(folder: Path) -> list[Path]:
    """Return the newest checkpoint of a run folder, or of each run folder below another one."""
    if any(folder.glob(CHECKPOINTS)):
        return [newest_checkpoint(folder)]
    runs = sorted({path.parent for path in folder.rglob(CHECKPOINTS)})
    if not runs:
        raise CheckpointError(f"No checkpoint ({CHECKPOINTS}) in {folder} or below it.")
    return [newest_checkpoint(run) for run in runs]


def _nearest_paths(path: Path) -> str:
    """Return which names there are where the path leaves what exists."""
    parts = path.parts
    for depth in range(len(parts)):
        parent, name = Path(*parts[:depth]), parts[depth]
        if not (parent / name).exists():
            names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
            where = "this folder" if parent == Path() else str(parent)
            hint = nearest(name, names) if names else "It is empty."
            return f"In {where} there is no {name!r}." + (f" {hint}" if len(hint) < LONGEST_HINT else "")
    return ""


def _require_distinct(subjects: Iterable[Subject]) -> None:
    """Refuse two checkpoints of one seed in one group, which would count as two independent runs."""
    seen: dict[tuple[str, str, int], Subject] = {}
    for subject in subjects:
        if subject.seed is None:
            continue
        other = seen.setdefault((subject.label, subject.task, subject.seed), subject)
        if other is not subject:
            raise CheckpointError(
                f"{other.checkpoint} and {subject.checkpoint} are both seed {subject.seed} of {subject.label!r} on "
                f"{subject.task}, so they are not independent. Give one of them, or name their groups: NAME=PATH."
            )
