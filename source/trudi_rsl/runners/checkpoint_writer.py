# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints that are written whole or not at all, whatever runner writes them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

from trudi_rsl.checkpoints.file import write_checkpoint

_torch_save = torch.save


@contextlib.contextmanager
def whole_checkpoints() -> Iterator[None]:
    """Let ``torch.save`` write files aside and move them to their names, inside the block.

    RSL-RL's runners of all versions, and those that hosts derive, save by ``torch.save(content, path)`` and leave no
    other way in.
    """
    with mock.patch.object(torch, "save", _save):
        yield


def _save(content: Any, file: Any, *args: Any, **kwargs: Any) -> None:
    write = write_checkpoint if isinstance(file, (str, os.PathLike)) else _torch_save
    write(content, file, *args, **kwargs)
