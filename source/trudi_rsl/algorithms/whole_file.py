# SPDX-License-Identifier: BSD-3-Clause
"""Writing what torch saves whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from trudi_rsl.files import replacing

_torch_save = torch.save


def save_whole(content: Any, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
    """Save as ``torch.save`` does, by way of memory: torch's own writer hides a full disk behind another error.

    Raises:
        OSError: If the file cannot be written; an earlier one of that name stays as it was.
    """
    buffer = io.BytesIO()
    _torch_save(content, buffer, *args, **kwargs)
    with replacing(Path(path)) as part:
        part.write(buffer.getbuffer())
