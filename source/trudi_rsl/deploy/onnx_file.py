# SPDX-License-Identifier: BSD-3-Clause
"""Writing a policy as one ONNX file."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

try:
    import onnx
    import onnxruntime  # noqa: F401  not used here, but nothing should be written that cannot be checked
    import onnxscript  # noqa: F401  torch's exporter needs it
except ImportError as error:
    raise ImportError(
        f'Exporting needs onnx, onnxscript and onnxruntime ({error}). Run: pip install "trudi_rsl[export]"'
    ) from error

OPSET = 18


def write_onnx(
    model: nn.Module,
    path: str | Path,
    metadata: Mapping[str, Any] | None = None,
    verbose: bool = False,
    batch_size: int | None = None,
) -> None:
    """Write a model as one ONNX file, weights inside; an existing file is replaced.

    From torch 2.9 on, ``torch.onnx.export`` itself writes the weights to a second file, without which the first does
    not load.

    Args:
        model: What the ``as_onnx`` of an RSL-RL model returns, on the CPU.
        path: The file; its folder is made.
        metadata: Entries for the file's metadata; all but text is written as JSON.
        verbose: Let torch report its progress.
        batch_size: Rows of the inputs; None leaves it to the model, which other packages' give no choice.
    """
    with contextlib.nullcontext() if verbose else _quiet():
        program = torch.onnx.export(
            model.eval(),
            model.get_dummy_inputs(*([] if batch_size is None else [batch_size])),  # type: ignore[operator]
            input_names=model.input_names,  # type: ignore[arg-type]
            output_names=model.output_names,  # type: ignore[arg-type]
            opset_version=OPSET,
            dynamo=True,
            verbose=verbose,
        )
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:
        # stack traces, with the paths of the machine that exported
        node.ClearField("metadata_props")
    _order_gelus(proto.graph)
    onnx.helper.set_model_props(proto, _as_text(metadata or {}))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)


def _order_gelus(graph: onnx.GraphProto) -> None:
    """Let onnxruntime fuse GELUs: write ``(x (1 + erf)) 0.5`` for ``x (0.5 (1 + erf))``, which rounds the same.

    torch decomposes GELU into the second order of its factors, for which onnxruntime has no pattern, so that it would
    run five nodes for every activation.
    """
    halves = {
        tensor.name
        for tensor in graph.initializer
        if not tensor.dims and onnx.numpy_helper.to_array(tensor).item() == 0.5
    }
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    known = {tensor.name for tensor in (*graph.input, *graph.initializer)}
    for inner in graph.node:
        users_of = users.get(inner.output[0], [])
        if inner.op_type == "Mul" and inner.input[0] in halves and len(users_of) == 1:
            (half, factor), (outer,) = inner.input, users_of
            # nodes stand in the order in which they run: the other factor must be there already
            if outer.op_type == "Mul" and outer.input[1] == inner.output[0] and outer.input[0] in known:
                inner.input[:] = [outer.input[0], factor]
                outer.input[:] = [inner.output[0], half]
        known.update(inner.output)


def add_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Add entries to the metadata of a file, as :func:`write_onnx` writes them."""
    proto = onnx.load(path)
    kept = {entry.key: entry.value for entry in proto.metadata_props}
    onnx.helper.set_model_props(proto, kept | _as_text(metadata))
    onnx.save(proto, path)


def _as_text(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporter says about itself: operators of packages not installed, its own deprecations."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
