# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints that are written whole or not at all, whatever runner writes them."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch

from trudi_rsl.files import replacing

_torch_save = torch.save


@contextlib.contextmanager
def whole_checkpoints() -> Iterator[None]:
    """Let ``torch.save`` write files aside and move them to their names, inside the block.

    RSL-RL's runners of all versions, and those that hosts derive, save by ``torch.save(content, path)`` and leave no
    other way in.
    """
    with mock.patch.object(torch, "save", _save_whole):
        yield


def _save_whole(content: Any, file: Any, *args: Any, **kwargs: Any) -> None:
    if not isinstance(file, (str, os.PathLike)):
        _torch_save(content, file, *args, **kwargs)
        return
    # into memory first: torch's own writer hides a full disk behind another error
    buffer = io.BytesIO()
    _torch_save(content, buffer, *args, **kwargs)
    with replacing(os.fspath(file)) as part:
        part.write(buffer.getbuffer())
