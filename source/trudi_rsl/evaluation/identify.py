# SPDX-License-Identifier: BSD-3-Clause
"""From what a user names on the command line to checkpoints, and what is known about each of them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import NAMES, Algorithm, algorithm_of, check_task, learner_spec, run_of, task_of
from trudi_rsl.config import compose
from trudi_rsl.config.adoption import record_beside, record_of, replace_settings
from trudi_rsl.config.compose import check_env_overrides
from trudi_rsl.config.overrides import parse_overrides
from trudi_rsl.config.run_folder import named_checkpoints
from trudi_rsl.config.schema import GYMNASIUM, HostSettings
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.seeds import Seed, refuse_repeated
from trudi_rsl.settings import SETTINGS
from trudi_rsl.task_names import present_name

logger = logging.getLogger(__name__)

IGNORED_SETTINGS = (
    *("seed", "device", "num_threads", "experiment_name", "run_name", "logger", "wandb_project", "neptune_project"),
    *("resume", "load_run", "load_checkpoint", "save_interval", "check_for_nan", "verbose"),
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
    """Seed it was trained with, that of the first run if it continues others; None without saved settings."""
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Dotted names to values of its training settings without :data:`IGNORED_SETTINGS`; empty if unknown."""
    runs: tuple[str, ...] = field(default=(), compare=False)
    """Names of the runs that it comes from, the first one first and its own last; empty if unknown."""
    iteration: int = field(default=0, compare=False)
    """The last iteration of its training."""
    stands_for: tuple[Path, ...] = field(default=(), compare=False)
    """Checkpoints that were named as well, but left out because they share its first run."""


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


def is_of_task(path: Path, task: str) -> bool:
    """Return whether a checkpoint may be of a task: it names that task or none."""
    try:
        check_task(task_of(read_checkpoint(path)), task)
    except CheckpointError:
        return False
    return True


def find_subjects(named: Sequence[str]) -> list[Subject]:
    """Return the policies that arguments name: those of :func:`~trudi_rsl.config.run_folder.named_checkpoints`."""
    return read_subjects(named_checkpoints(named))


def read_subjects(checkpoints: Iterable[tuple[str | None, Path]]) -> list[Subject]:
    """Return the policies of checkpoints, each with the name of its group or None, in their order.

    Of the runs of a group that continue one another, or the same run, only the one trained furthest is returned: they
    are one seed.

    Raises CheckpointError if one is without its task's name; or if two are of the same run or seed of one group.
    """
    subjects = _one_per_lineage(read_subject(checkpoint, label) for label, checkpoint in checkpoints)
    refuse_repeated(
        (Seed(subject.label, subject.task, subject.seed), subject.checkpoint)
        for subject in subjects
        if subject.seed is not None
    )
    return subjects


def _one_per_lineage(subjects: Iterable[Subject]) -> list[Subject]:
    """Return the subjects without those whose first run another one of the group shares and was trained further."""
    lineages: dict[tuple[str, str, str], list[Subject]] = {}
    subjects = list(subjects)
    for subject in subjects:
        if subject.runs:
            lineages.setdefault((subject.label, subject.task, subject.runs[0]), []).append(subject)
    replaced: dict[Path, Subject | None] = {}
    for members in lineages.values():
        if len({member.runs[-1] for member in members}) == 1:
            continue  # one run, or two checkpoints of it
        *others, kept = sorted(members, key=lambda member: (member.iteration, member.checkpoint.as_posix()))
        replaced |= {member.checkpoint: None for member in others}
        replaced[kept.checkpoint] = replace(kept, stands_for=tuple(member.checkpoint for member in others))
    resolved = [replaced.get(subject.checkpoint, subject) for subject in subjects]
    return [subject for subject in resolved if subject is not None]


def read_subject(checkpoint: Path, label: str | None = None) -> Subject:
    """Return what a checkpoint and the settings beside it say about a policy, whose default label is its algorithm.

    Raises CheckpointError if its task is unknown.
    """
    content = read_checkpoint(checkpoint)
    record, task, seed, runs, settings = record_of(checkpoint, content), task_of(content), None, (), {}
    if record is not None:
        ancestors = record["ancestors"]
        task, seed = task or record["task"], ancestors[0]["seed"] if ancestors else record["seed"]
        runs = (*(ancestor["id"] for ancestor in ancestors), record["id"])
        settings = dict(_flatten({"agent": record["agent"], "env": record["env"] or {}}))
    if task is None:
        raise CheckpointError(f"{checkpoint} does not name the task it was trained on; play it with trudi play.")
    task = present_name(task)
    algorithm = identify(checkpoint, task)
    kept = {name: value for name, value in settings.items() if name.removeprefix("agent.") not in IGNORED_SETTINGS}
    return Subject(checkpoint, algorithm, task, label or algorithm, seed, kept, runs, content.get("iter", 0))


def describe_mixtures(subjects: Iterable[Subject]) -> list[str]:
    """Return sentences on runs that continue one another, and on groups whose runs have different settings."""
    groups: dict[tuple[str, str], list[Subject]] = {}
    sentences = []
    for subject in subjects:
        if subject.stands_for:
            sentences.append(
                f"{subject.checkpoint} continues the same run as {', '.join(map(str, subject.stands_for))}; together "
                f"they are one seed of {subject.label}, the one trained furthest. NAME=PATH keeps them apart."
            )
        if subject.settings:
            groups.setdefault((subject.label, subject.task), []).append(subject)
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


def load_run_settings(
    checkpoint: Path,
    task: str,
    algorithm: Algorithm,
    overrides: Sequence[str] = (),
    host: HostSettings = GYMNASIUM,
) -> DictConfig:
    """Return the ``agent`` and ``env`` settings of a checkpoint's run, with overrides ``env.name=value`` applied.

    They are in the checkpoint, or, if an earlier version wrote it, beside it. A checkpoint of TruDi's learner without
    any gets the task's preset. Overrides that change the run's settings, other than the number of environments, are
    logged. ``host`` is the task's.

    Raises:
        CheckpointError: If a checkpoint of PPO or a relative has no settings, or they cannot be read.
        ConfigError: If an override is not one of ``env``, or the configuration refuses its name or value.
    """
    check_env_overrides(overrides, host)
    preset = compose(task, algorithm, overrides, host=host)
    record = run_of(read_checkpoint(checkpoint))
    if record is None or record["env"] is None:
        if algorithm in SETTINGS and not (checkpoint.parent / "params").exists():
            return preset
        try:
            record = record_beside(checkpoint, record, host.env_cfg)
        except CheckpointError as error:
            advice = f"A {NAMES[algorithm]} policy can only be rebuilt with the settings of its run."
            if algorithm in SETTINGS:
                advice = "Copy the checkpoint elsewhere to play it with the task's preset."
            raise CheckpointError(f"{error} {advice}") from error
    settings = OmegaConf.create({"task": task, "agent": record["agent"], "env": record["env"]})
    names = [override.key_or_group for override in parse_overrides(overrides)]
    replace_settings(settings, preset, {"env.num_envs"} & {*names})
    if changed := replace_settings(settings, preset, names, record["task"]):
        _log_once(changed)
    return settings


@functools.cache
def _log_once(sentence: str) -> None:
    """Log a sentence that holds for many checkpoints."""
    logger.info(sentence)


def _flatten(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and values of a nested section."""
    for name, value in section.items():
        if isinstance(value, (Mapping, DictConfig)):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
