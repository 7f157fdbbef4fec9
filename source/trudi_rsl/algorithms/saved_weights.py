# SPDX-License-Identifier: BSD-3-Clause
"""Comparing the weights in a checkpoint with those of a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from trudi_rsl.errors import CheckpointError, one_line


def differences(saved: Mapping[str, Any], own: Mapping[str, Tensor], strict: bool) -> list[str]:
    """Return what keeps saved weights from being loaded, one sentence for each.

    Args:
        saved: Names to tensors of the checkpoint.
        own: Names to tensors of the module.
        strict: Also tell missing and unknown names.
    """
    shapes = {k: tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for k, v in saved.items()}
    wrong = [
        f"{k}: {shapes[k]} in the checkpoint, {tuple(v.shape)} here"
        for k, v in own.items()
        if k in shapes and shapes[k] != tuple(v.shape)
    ]
    if strict:
        wrong += [f"{k}: missing in the checkpoint" for k in sorted(own.keys() - saved.keys())]
        wrong += [f"{one_line(k, 80)}: unknown here" for k in sorted(saved.keys() - own.keys(), key=str)]
    return wrong


def require_none(wrong: list[str]) -> None:
    """Refuse a checkpoint in which :func:`differences` found some.

    Raises:
        CheckpointError: Naming the first of them.
    """
    if wrong:
        shown = "; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        raise CheckpointError(
            f"The checkpoint is of another task or network shape ({shown}). Load it with the task and settings it was "
            "trained with; they lie in params/agent.yaml beside it."
        )
