# SPDX-License-Identifier: BSD-3-Clause
"""Files that do what a file from somebody else should not be able to do."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

MODULE = "hostile_package"
"""A module whose import can be seen: it makes a folder."""


class Payload:
    """What makes the folder ``marker`` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        import os

        return os.mkdir, (str(self.marker),)


def rewritten(checkpoint: Path, path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Return a copy of a checkpoint at ``path`` whose content was changed."""
    content = torch.load(checkpoint, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def replacing(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Return a change of a checkpoint that replaces the value at a dotted name."""

    def change(content: dict[str, Any]) -> None:
        *parents, last = name.split(".")
        for parent in parents:
            content = content[parent]
        content[last] = value

    return change


def write_tar(content: object, path: Path) -> None:
    """Write pickles in a tar archive, as torch did before version 0.1.10."""
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(content)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


WRITERS: dict[str, Callable[[object, Path], object]] = {
    "zip": torch.save,
    "bare pickle": lambda content, path: path.write_bytes(pickle.dumps(content)),
    "before torch 1.6": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    "before torch 0.1.10": write_tar,
}


def write_onnx(path: Path, size: int = 3, location: str | None = None, **metadata: Any) -> Path:
    """Write ``actions = obs + w`` with the contract of a policy; ``location`` keeps ``w`` in another file."""
    weights = onnx.numpy_helper.from_array(np.zeros(size, np.float32), "w")
    if location is not None:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": "0", "length": str(4 * size)}.items():
            weights.external_data.add(key=key, value=value)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in ("obs", "actions")]
    node = helper.make_node("Add", ["obs", "w"], ["actions"])
    graph = helper.make_graph([node], "policy", values[:1], values[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    stated = {"obs_dims": {"policy": size}} | metadata
    helper.set_model_props(model, {k: v if isinstance(v, str) else json.dumps(v) for k, v in stated.items()})
    path.write_bytes(model.SerializeToString())
    return path


@contextmanager
def refused(kind: type[Exception], marker: Path | None = None) -> Iterator[list[str]]:
    """Check that the block is refused with one line that can be shown, and that nothing made ``marker``."""
    message: list[str] = []
    with pytest.raises(kind) as caught:
        yield message
    message.append(str(caught.value))
    assert message[0].isprintable() and 10 < len(message[0]) < 1000, message
    assert marker is None or not marker.exists(), "the file's code was run"


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return all files and links below a folder with their content."""
    return {
        str(path.relative_to(folder)): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }
