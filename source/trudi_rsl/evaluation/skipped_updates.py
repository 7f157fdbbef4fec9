# SPDX-License-Identifier: BSD-3-Clause
"""What a training kept of an update that it skipped, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trudi_rsl.algorithms.checkpoint import read_checkpoint
from trudi_rsl.algorithms.checkpoint_file import sound
from trudi_rsl.errors import one_line

FIRST_FILE = "skipped_update_1.pt"
"""Name of the first of them in a run folder."""


def cause_of(file: Path) -> str:
    """Return which numbers let an update be skipped.

    Args:
        file: What :class:`~trudi_rsl.algorithms.guard.UpdateGuard` kept, or somebody else's: nothing in it is run.

    Raises:
        CheckpointError: If it is no such file.
    """
    content = read_checkpoint(file)
    with sound(file):
        cause = content["cause"]
        told = _of_minibatch(cause) if "minibatch" in cause else _of_rollout(cause["rollout"])
        return f"{file.name} tells of the first: {told}."


def _of_minibatch(cause: Mapping[str, Any]) -> str:
    """Return what was not finite, and where that may come from: the minibatch's largest numbers."""
    bad = one_line(", ".join(cause["not_finite"])) or "a gradient of finite losses"
    sizes = dict(_sizes(cause["minibatch"]))
    unbounded = [name for name, size in sizes.items() if size == torch.inf]
    if unbounded:
        return f"not finite were {bad}; of the minibatch, {one_line(', '.join(unbounded))}"
    largest = max(sizes, key=lambda name: sizes[name])
    return f"not finite were {bad}; the minibatch's largest number, {sizes[largest]:.2g}, is in {one_line(largest)}"


def _of_rollout(rollout: Mapping[str, Tensor]) -> str:
    """Return how much of what the faulty environments gave was not finite."""
    lost = {name: 100.0 * (~rollout[name]).double().mean().item() for name in ("seen", "rewarded")}
    return (
        f"{rollout['seen'].shape[1]} environments gave NaN or infinity, in {lost['seen']:.0f} % of their observations "
        f"and {lost['rewarded']:.0f} % of their rewards"
    )


def _sizes(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the names and largest absolute values of all floating-point tensors, infinity for NaN."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", size) for part, size in _sizes(value))
        elif isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            yield name, value.double().abs().nan_to_num(nan=torch.inf, posinf=torch.inf).max().item()
