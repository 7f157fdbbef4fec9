# SPDX-License-Identifier: BSD-3-Clause
"""Reading and writing a checkpoint file: atomic writes, and one safe read."""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trudi_rsl.errors import CheckpointError, one_line
from trudi_rsl.files import ARCHIVE, is_whole, replacing
from trudi_rsl.plain_values import CONTAINERS, distinct_values, is_count, require_bounded

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


PLAIN_CLASSES = [deque, OrderedDict]
"""Classes of plain values that checkpoints of this package's earlier versions and of RSL-RL hold."""

PLAIN_TYPES = (type(None), bool, int, float, complex, str, bytes, Tensor, torch.dtype, torch.device, *CONTAINERS)

SECTIONS = (
    *("actor_state_dict", "critic_state_dict", "model_state_dict", "optimizer_state_dict"),
    *("infos", "trudi", "policy_gradient", "env_state", "rng_state"),
)
"""Parts of a checkpoint that map names to values."""

_torch_load = torch.load  # runners are made to read by this module instead


class _ForeignError(ValueError):
    """Content that no checkpoint has."""


def read_file(path: str | Path) -> dict[str, Any]:
    """Return what a checkpoint file holds, on the CPU, in whatever layout it was saved.

    Only tensors and plain Python values are read, and nothing that outgrows the file.

    Raises:
        CheckpointError: If there is no such file, it is damaged, holds code to run or is not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"No checkpoint at {path}.")
    try:
        _require_sound_archive(path)
        with torch.serialization.safe_globals(PLAIN_CLASSES):
            content = _torch_load(path, map_location="cpu", weights_only=True)
        _require_plain(content, path.stat().st_size)
    except CheckpointError:
        raise
    except _ForeignError as error:
        raise CheckpointError(f"{path} is not a checkpoint (model_*.pt): {error}.") from error
    except Exception as error:  # what unpickling foreign bytes raises is not limited to a few classes
        if (found := re.search(r"GLOBAL (\S+)", str(error))) is not None:
            raise CheckpointError(
                f"{path} holds the class or function {one_line(found[1])}, which a checkpoint of RSL-RL or TruDi does "
                "not, and was not loaded: it could run code. If you trust who made it, save it again without that."
            ) from error
        raise CheckpointError(f"{path} is not a checkpoint (model_*.pt): {type(error).__name__}.") from error
    return content


@contextlib.contextmanager
def sound(what: str | Path = "The checkpoint") -> Iterator[None]:
    """Turn what contradictory content of a checkpoint leads to, in the block, into an error that says so.

    Args:
        what: Names the checkpoint.

    Raises:
        CheckpointError: For any exception.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # a number in place of a list may raise anything anywhere
        raise CheckpointError(
            f"{what} contradicts itself or does not fit ({type(error).__name__}: {one_line(error)}). Use "
            "another one, or the settings that it was trained with."
        ) from error


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(ARCHIVE)) == ARCHIVE


def _require_sound_archive(path: Path) -> None:
    """Refuse an archive that is damaged, which torch doesn't notice, or whose parts are compressed or overlap.

    Torch's never do, and such parts could unpack to any size.

    Raises:
        CheckpointError: If it is damaged.
    """
    if not _is_archive(path):
        return
    damage = CheckpointError(f"{path} is damaged or only half there; use another checkpoint.")
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except Exception as error:  # damaged headers raise whatever they lead to
        raise damage from error
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise _ForeignError("its parts are compressed, as torch's are not")
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise _ForeignError("its parts are larger than the file")
    if not is_whole(path):
        raise damage


def _require_plain(content: Any, size: int) -> None:
    """Refuse values that a checkpoint of ``size`` bytes does not hold."""
    if not isinstance(content, dict):
        raise _ForeignError(f"it holds a {type(content).__name__}")
    try:
        require_bounded(content, size)
    except ValueError as error:
        raise _ForeignError(str(error)) from error
    for value in distinct_values(content):
        if not isinstance(value, PLAIN_TYPES):
            raise _ForeignError(f"it holds {one_line(value)}")
        if isinstance(value, Tensor) and not _is_plain(value, size):
            raise _ForeignError("it holds a tensor without memory of its own or larger than the file")
        if isinstance(value, Mapping) and not all(isinstance(key, (str, int)) for key in value):
            raise _ForeignError("it names values by other than text and numbers")
    for name in SECTIONS:
        if not isinstance(content.get(name) or {}, Mapping):
            raise _ForeignError(f"its {name} has no names")
    if not is_count(content.get("iter", 0), lowest=0):
        raise _ForeignError("its iteration is no number of iterations")


def _is_plain(tensor: Tensor, size: int) -> bool:
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return False
    return max(tensor.numel(), tensor.untyped_storage().nbytes()) <= size
