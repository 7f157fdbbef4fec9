# SPDX-License-Identifier: BSD-3-Clause
"""What a run writes into its checkpoints about itself, and which run it continues."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsl_rl.env import VecEnv

from trudi_rsl.checkpoints.format import RunRecord
from trudi_rsl.checkpoints.release import require_resumable
from trudi_rsl.checkpoints.resume import reseeded, without_changed_simulator
from trudi_rsl.config.adoption import record_of
from trudi_rsl.deploy.provenance import versions
from trudi_rsl.environments.description import task_name
from trudi_rsl.plain_values import as_plain, is_count

logger = logging.getLogger(__name__)


def new_record(env: VecEnv, cfg: Mapping[str, Any]) -> RunRecord:
    """Return the record of a run that starts now, from a runner configuration; a host adds what that lacks."""
    seed: Any = cfg.get("seed")
    return {
        "id": uuid.uuid4().hex,
        "ancestors": [],
        "task": task_name(env),
        "seed": seed if is_count(seed, lowest=0) else None,
        "preset": None,
        "agent": as_plain(cfg),
        "env": None,
        "overrides": [str(text) for text in cfg.get("overrides") or ()],
        "versions": versions(),
    }


def continue_from(
    checkpoint: dict[str, Any], path: Path, record: RunRecord, is_main_process: bool = True
) -> dict[str, Any]:
    """Note in a run's record which one it continues, and return the checkpoint with the random state to resume from.

    That is the checkpoint's own unless the run has another seed or the simulator another version, both of which are
    logged. Other processes than the first keep their own random state. Raises CheckpointError if the checkpoint was
    released without what a resume needs.
    """
    require_resumable(checkpoint, path)
    parent, folder = record_of(path, checkpoint), path.resolve().parent.name
    seed, trained_with = record["seed"], None if parent is None else parent["seed"]
    record["ancestors"] = [
        *([] if parent is None else parent["ancestors"]),
        {
            "id": folder if parent is None else parent["id"],
            "seed": trained_with,
            "checkpoint": f"{folder}/{path.name}",
            "iteration": checkpoint["iter"],
        },
    ]
    if not is_main_process:
        return checkpoint
    if "rng_state" in checkpoint and seed is not None and trained_with not in (None, seed):
        logger.info("Seed %s -> %s: new random numbers and new episodes from here on.", trained_with, seed)
        return reseeded(checkpoint, seed)
    return without_changed_simulator(checkpoint)
