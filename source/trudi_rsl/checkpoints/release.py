# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints to publish: what playing, evaluating and exporting a policy need, without what only a resume needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trudi_rsl.checkpoints.format import RUN, SECTION, STATE_PARTS, learner_spec, run_of
from trudi_rsl.errors import CheckpointError

OPTIMIZER = "optimizer_state_dict"
"""Key of the optimizer's state, which a released checkpoint does not have."""


def release(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint of TruDi, REPPO or DIME without optimizer, random states, simulator and log.

    Its networks, its :data:`~trudi_rsl.checkpoints.format.SECTION` and the record of its run remain.

    Args:
        checkpoint: Result of :func:`~trudi_rsl.checkpoints.file.read_checkpoint`.

    Raises:
        CheckpointError: If it is of another algorithm, or has no record of its run.
    """
    spec, record = learner_spec(checkpoint), run_of(checkpoint)
    if record is None or record["env"] is None:
        raise CheckpointError("The checkpoint does not hold the settings of its run, so it cannot be released.")
    weights = {name: checkpoint[name] for name in STATE_PARTS}
    return {**weights, SECTION: spec, RUN: record, "iter": checkpoint["iter"], "infos": {"task": spec["task"]}}


def require_resumable(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Raise a CheckpointError if a checkpoint was released, so that training cannot continue from it."""
    if OPTIMIZER not in checkpoint:
        raise CheckpointError(
            f"{path} is a released policy: it has no optimizer, random state or simulator to resume from. Play, "
            "evaluate or export it; to train further, train the task anew without --resume."
        )
