# SPDX-License-Identifier: BSD-3-Clause
"""Opening an exported policy in onnxruntime. Needs onnxruntime alone."""

from __future__ import annotations

from pathlib import Path

try:
    import onnxruntime
except ImportError as error:
    raise ImportError(f"Running a policy needs onnxruntime ({error}). Run: pip install onnxruntime") from error


def open_session(file: str | Path, num_threads: int = 1) -> onnxruntime.InferenceSession:
    """Return a session on the CPU.

    Args:
        file: A ``policy.onnx``.
        num_threads: Threads; more than one makes networks of a policy's size slower.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of every half-precision layer that a CPU computes in float32
    options.intra_op_num_threads = options.inter_op_num_threads = num_threads
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
