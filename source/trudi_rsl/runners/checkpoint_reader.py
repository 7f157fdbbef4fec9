# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints that are read without running what they hold, whatever runner reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

from trudi_rsl.checkpoints.file import read_checkpoint


@contextlib.contextmanager
def safe_reading() -> Iterator[None]:
    """Let ``torch.load`` read plain values and tensors alone, onto the CPU, inside the block.

    RSL-RL's runners of all versions call it with ``weights_only=False``, which runs whatever a file holds. That the
    file was read safely before is not enough: another may have taken its place.
    """
    with mock.patch.object(torch, "load", _load_plain):
        yield


def _load_plain(file: Any, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
    return read_checkpoint(file)
