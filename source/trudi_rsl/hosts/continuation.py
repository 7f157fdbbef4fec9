# SPDX-License-Identifier: BSD-3-Clause
"""Resuming on hosts with training commands of their own: the user's overrides, seed and iterations of the run."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import run_of
from trudi_rsl.errors import ConfigError

logger = logging.getLogger(__name__)

NUM_ENVS = "env.scene.num_envs"
IMPORTED = ("class_name", "class_type", "func", "_target_")
"""Last parts of the names of settings that hosts import."""


def name_of(override: str) -> str:
    """Return the name of the setting in ``name=value``."""
    return override.lstrip("+").partition("=")[0]


def own_overrides(args: argparse.Namespace, arguments: Sequence[str]) -> list[str]:
    """Return the settings of agent and simulator among the arguments of a training, for its checkpoints."""
    kept = [text for text in arguments if name_of(text).startswith(("agent.", "env.")) and "=" in text]
    if args.num_envs is not None:
        kept.append(f"{NUM_ENVS}={args.num_envs}")
    return kept


def continue_run(
    args: argparse.Namespace, arguments: Sequence[str], checkpoint: Path, total: int
) -> tuple[list[str], int]:
    """Return the arguments for a resume, and the iterations that are left.

    They are the overrides that the run was started with, then the user's, which win. If the user sets no seed,
    ``args.seed`` becomes the run's.

    Args:
        args: The flags of ``scripts/train.py``; modified.
        arguments: Overrides, and flags of the host.
        checkpoint: The file to resume.
        total: Iterations that the task's configuration trains.

    Raises:
        ConfigError: If the iterations are set in two ways.
    """
    content = read_checkpoint(checkpoint)
    record, done = run_of(content), content.get("iter", -1) + 1
    named = {name_of(text): text.partition("=")[2] for text in arguments}
    set_by_user = args.max_iterations or named.get("agent.max_iterations")
    if args.more_iterations is not None and set_by_user is not None:
        raise ConfigError("--more_iterations goes without --max_iterations, which is the total.")
    kept: list[str] = []
    if record is not None:
        if args.seed is None and "agent.seed" not in named:
            args.seed = record["seed"]
        own = {*named, "agent.seed", "agent.max_iterations", *([] if args.num_envs is None else [NUM_ENVS])}
        kept = [text for text in record["overrides"] if name_of(text) not in own and _is_value(text)]
        total = record["agent"].get("max_iterations", total)
        if kept:
            logger.info("As in the run: %s.", " ".join(kept))
    merged = [*kept, *(text for text in arguments if name_of(text) != "agent.max_iterations")]
    if args.more_iterations is not None:
        return merged, args.more_iterations
    return merged, max(0, int(set_by_user or total) - done)


def is_finished(args: argparse.Namespace, checkpoint: Path | None) -> bool:
    """Return whether :func:`continue_run` has left no iterations to train, and print that."""
    if checkpoint is None or args.max_iterations != 0:
        return False
    logger.info(
        "Finished: %s has all its iterations. --more_iterations N trains N more, --max_iterations sets the total.",
        checkpoint,
    )
    return True


def _is_value(override: str) -> bool:
    """Return whether an override from a file sets a value, and names no class or function that would be imported."""
    name, _, value = override.lstrip("+").partition("=")
    is_setting = name.startswith(("agent.", "env.")) and name.rpartition(".")[2] not in IMPORTED
    return is_setting and re.fullmatch(r"[\w.,+\-\[\]{} '\"]*", value) is not None
