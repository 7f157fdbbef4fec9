# SPDX-License-Identifier: BSD-3-Clause
"""What tests of the runtime share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

METADATA = {"task": "Drift-v0", "algorithm": "TruDi", "obs_dims": {"joints": 5, "base": 4}}
GOOD = np.full(9, 30.0, np.float32)
BAD = np.where(np.arange(9) == 3, np.nan, GOOD)


def changed(file: Path, folder: Path, **entries: Any) -> Path:
    """Return a copy of an exported policy with other metadata; None removes an entry."""
    proto = onnx.load(file)
    kept = {e.key: e.value for e in proto.metadata_props} | {k: json.dumps(v) for k, v in entries.items()}
    onnx.helper.set_model_props(proto, {k: v for k, v in kept.items() if v != "null"})
    onnx.save(proto, folder / "changed.onnx")
    return folder / "changed.onnx"


def damaged(file: Path, folder: Path) -> Path:
    """Return a copy of an exported policy with NaN among its weights."""
    proto = onnx.load(file)
    (weights, *_) = [tensor for tensor in proto.graph.initializer if len(tensor.dims) == 2]
    values = onnx.numpy_helper.to_array(weights).copy()
    values[0, 0] = np.nan
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(proto, folder / "damaged.onnx")
    return folder / "damaged.onnx"
