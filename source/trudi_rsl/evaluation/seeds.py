# SPDX-License-Identifier: BSD-3-Clause
"""Runs of one group must differ in their seeds; without torch, as far as the settings beside checkpoints show that."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trudi_rsl.choices import SHORT_NAMES
from trudi_rsl.config.yaml_file import read_yaml
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.settings import algorithm_of_settings


class Seed(NamedTuple):
    """What must be different in each of the runs that are compared."""

    label: str
    """Name of the group, the algorithm unless the user set one."""
    task: str
    number: int


def refuse_repeated(seeds: Iterable[tuple[Seed, Path]]) -> None:
    """Raise a CheckpointError if two checkpoints have the same seed, which names one of them to evaluate alone."""
    found: dict[Seed, list[Path]] = {}
    for seed, checkpoint in seeds:
        found.setdefault(seed, []).append(checkpoint)
    for seed, same in found.items():
        if len(same) > 1:
            first, last = (shlex.quote(str(path)) for path in (same[0], same[-1]))
            raise CheckpointError(
                f"{len(same)} of the checkpoints of {seed.label} on {seed.task} are of seed {seed.number}, so they are "
                f"not independent. Train with other seeds (--seed), name one: trudi evaluate {last}, or compare them "
                f"as groups: trudi evaluate first={first} last={last}."
            )


def refuse_repeated_seeds(checkpoints: Iterable[tuple[str | None, Path]]) -> None:
    """Raise the error of :func:`refuse_repeated`, as far as ``params/`` beside the checkpoints shows seeds.

    Runs that continue others are skipped: only a checkpoint itself names the run it comes from.

    Args:
        checkpoints: Each with the name of its group, or None.
    """
    known = ((_seed_beside(label, checkpoint), checkpoint) for label, checkpoint in checkpoints)
    refuse_repeated((seed, checkpoint) for seed, checkpoint in known if seed is not None)


def _seed_beside(label: str | None, checkpoint: Path) -> Seed | None:
    """Return the seed of a run that continues no other; None if that or its settings are not known."""
    try:
        agent, env = (read_yaml(checkpoint.parent / "params" / f"{name}.yaml") for name in ("agent", "env"))
    except (OSError, ConfigError):
        return None
    if not isinstance(agent, Mapping) or not isinstance(env, Mapping) or agent.get("resume") is not False:
        return None
    seed, task, algorithm = agent.get("seed"), env.get("task"), agent.get("algorithm")
    if type(seed) is not int or not isinstance(task, str) or not isinstance(algorithm, Mapping):
        return None
    return Seed(label or _algorithm(algorithm), task, seed)


def _algorithm(section: Mapping[str, Any]) -> str:
    name = str(section.get("class_name")).rpartition(":")[2]
    return algorithm_of_settings(section) if name == "TruDi" else SHORT_NAMES.get(name, name)
