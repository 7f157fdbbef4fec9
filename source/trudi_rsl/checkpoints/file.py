# SPDX-License-Identifier: BSD-3-Clause
"""Writing a checkpoint file in one step, and reading one without running anything in it."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trudi_rsl.checkpoints.format import present_format
from trudi_rsl.errors import CheckpointError, one_line
from trudi_rsl.files import ARCHIVE, atomic_write, is_whole
from trudi_rsl.plain_values import CONTAINERS, distinct_values, is_count, require_bounded

PLAIN_CLASSES = [deque, OrderedDict]
"""Classes of plain values in checkpoints of RSL-RL and of earlier versions of this package."""

MOST_VALUES = 10_000_000
"""Most values that an environment's state may stand for."""

PLAIN_TYPES = (type(None), bool, int, float, complex, str, bytes, Tensor, torch.dtype, torch.device, *CONTAINERS)

MAPPINGS = (
    *("actor_state_dict", "critic_state_dict", "model_state_dict", "optimizer_state_dict", "infos"),
    *("trudi_rsl", "trudi", "policy_gradient", "run", "env_state", "rng_state", "simulators"),
    *("rnd_state_dict", "rnd_optimizer_state_dict", "rnd_progress"),
)
"""Keys of a checkpoint whose values map names to values."""


_READABLE = (
    *(type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size),
    *(dict, OrderedDict, list, tuple, set),
)
"""Types, without their subclasses, that :func:`read_checkpoint` reads, besides tensors."""


class _ForeignError(ValueError):
    """Content that no checkpoint has."""


def write_checkpoint(content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a checkpoint of tensors and plain values, in full or not at all.

    Raises:
        OSError: If the file cannot be written; an earlier one is kept.
    """
    buffer = io.BytesIO()  # torch's own writer hides a full disk behind another error
    torch.save(content, buffer)
    with atomic_write(Path(path)) as part:
        part.write(buffer.getbuffer())


def unreadable(content: Mapping[str, Any]) -> str | None:
    """Return the name of a type in ``content`` that would make a checkpoint unreadable, None if there is none.

    Subclasses count: an enum member or a NumPy number is written as a class that no checkpoint may name.
    """
    try:
        require_bounded(content, MOST_VALUES)
    except ValueError as error:
        return str(error)
    for value in distinct_values(content):
        if type(value) not in _READABLE and type(value) is not Tensor:
            return type(value).__name__
        if isinstance(value, Mapping) and not all(type(key) in (str, int) for key in value):
            return f"{type(value).__name__} with other keys than names and integers"
    return None


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a checkpoint file on the CPU, converted to the present format.

    The file may be from any version of this package or of RSL-RL. Only tensors and plain Python values are read, and
    nothing that takes more memory than the file.

    Raises:
        CheckpointError: If there is no such file, it is damaged, holds code to run or is not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"No checkpoint at {path}.")
    try:
        _require_sound_archive(path)
        with torch.serialization.safe_globals(PLAIN_CLASSES):
            content = torch.load(path, map_location="cpu", weights_only=True)
        _require_plain(content, path.stat().st_size)
    except CheckpointError:
        raise
    except _ForeignError as error:
        raise CheckpointError(f"{path} is not a checkpoint (model_*.pt): {error}.") from error
    except Exception as error:  # unpickling foreign bytes may raise anything
        if (found := re.search(r"GLOBAL (\S+)", str(error))) is not None:
            raise CheckpointError(
                f"{path} holds the class or function {one_line(found[1])}, which a checkpoint of RSL-RL or TruDi does "
                "not, and was not loaded: it could run code. If you trust who made it, save it again without that."
            ) from error
        raise CheckpointError(f"{path} is not a checkpoint (model_*.pt): {type(error).__name__}.") from error
    return present_format(content)


def _require_sound_archive(path: Path) -> None:
    """Refuse an archive that is damaged, which torch does not notice, or whose parts could unpack to any size."""
    with path.open("rb") as file:
        if file.read(len(ARCHIVE)) != ARCHIVE:
            return
    damage = CheckpointError(f"{path} is damaged or only half there; use another checkpoint.")
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except Exception as error:  # damaged headers may raise anything
        raise damage from error
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise _ForeignError("its parts are compressed, as torch's are not")
    if sum(part.file_size for part in parts) > path.stat().st_size:
        raise _ForeignError("its parts are larger than the file")
    if not is_whole(path):
        raise damage


def _require_plain(content: Any, size: int) -> None:
    """Refuse values that no checkpoint of ``size`` bytes holds."""
    if not isinstance(content, dict):
        raise _ForeignError(f"it holds a {type(content).__name__}")
    try:
        require_bounded(content, size)
    except ValueError as error:
        raise _ForeignError(str(error)) from error
    for value in distinct_values(content):
        if not isinstance(value, PLAIN_TYPES):
            raise _ForeignError(f"it holds {one_line(value)}")
        if isinstance(value, Tensor) and not (
            value.layout is torch.strided
            and value.device.type == "cpu"
            and not value.is_quantized
            and max(value.numel(), value.untyped_storage().nbytes()) <= size
        ):
            raise _ForeignError("it holds a tensor without memory of its own or larger than the file")
        if isinstance(value, Mapping) and not all(isinstance(key, (str, int)) for key in value):
            raise _ForeignError("it names values by other than text and numbers")
    for name in MAPPINGS:
        if not isinstance(content.get(name) or {}, Mapping):
            raise _ForeignError(f"its {name} is not a mapping")
    if not is_count(content.get("iter", 0), lowest=0):
        raise _ForeignError("its iteration is not a number of iterations")
