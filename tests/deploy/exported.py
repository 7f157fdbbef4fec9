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
