# SPDX-License-Identifier: BSD-3-Clause
"""Writing a policy as one ONNX file, in float32 or in fewer bits."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trudi_rsl import packages
from trudi_rsl.choices import Precision

try:
    import onnx
    import onnxruntime  # noqa: F401  without it an export cannot be verified
    import onnxscript  # noqa: F401  required by torch's exporter
except ImportError as error:
    raise packages.missing("Exporting", packages.EXPORT) from error

OPSET = 18

MIN_INT8_WIDTH = 128
"""Smallest layer width for which 8 bits pay off despite the computation of the input's scale."""


def write_onnx(
    model: nn.Module,
    path: str | Path,
    metadata: Mapping[str, Any] | None = None,
    verbose: bool = False,
    batch_size: int | None = None,
) -> None:
    """Write a model as one ONNX file that contains its weights; an existing file is replaced.

    From torch 2.9 on, ``torch.onnx.export`` itself writes the weights to a second file, without which the first does
    not load.

    Args:
        model: The return value of an RSL-RL model's ``as_onnx``, on the CPU.
        path: The file; its folder is created.
        metadata: As in :func:`add_metadata`.
        verbose: Whether to show torch's progress messages.
        batch_size: Rows of the inputs; None uses the model's own, as required for models of other packages.
    """
    # torch reports missing optional packages and its own deprecations
    with contextlib.nullcontext() if verbose else _quiet("torch.onnx._internal.exporter._registration"):
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
        # stack traces with paths of the exporting machine
        node.ClearField("metadata_props")
    _reorder_gelus(proto.graph)
    proto.ClearField("metadata_props")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)
    add_metadata(path, metadata or {})


def add_metadata(path: str | Path, metadata: Mapping[str, Any]) -> None:
    """Add entries to the metadata of a file; values other than strings are written as JSON."""
    proto = onnx.load(path)
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    entries |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    onnx.helper.set_model_props(proto, entries)
    onnx.save(proto, path)


def _reorder_gelus(graph: onnx.GraphProto) -> None:
    """Write ``x (0.5 (1 + erf))`` as ``(x (1 + erf)) 0.5``, which rounds the same and which onnxruntime fuses.

    torch decomposes GELU into the first form, for which onnxruntime has no fusion pattern, so it would run five nodes
    per activation.
    """
    halves = {t.name for t in graph.initializer if not t.dims and onnx.numpy_helper.to_array(t).item() == 0.5}
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    defined = {tensor.name for tensor in (*graph.input, *graph.initializer)}
    for inner in graph.node:
        inner_users = users[inner.output[0]]
        if inner.op_type == "Mul" and inner.input[0] in halves and len(inner_users) == 1:
            (half, factor), (outer,) = inner.input, inner_users
            # nodes are in execution order, so the other factor must be defined already
            if outer.op_type == "Mul" and outer.input[1] == inner.output[0] and outer.input[0] in defined:
                inner.input[:] = [outer.input[0], factor]
                outer.input[:] = [inner.output[0], half]
        defined.update(inner.output)


def reduce_precision(path: Path, precision: Precision) -> None:
    """Convert a float32 ONNX policy to another precision in place; its inputs and outputs stay float32.

    In ``int8``, products with fewer than :data:`MIN_INT8_WIDTH` inputs or outputs stay in float32: those of the latent,
    and the last layer's, whose rounding errors would enter the action directly.
    """
    if precision == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
    elif precision == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        model = onnx.load(path)
        _split_gemms(model.graph)
        onnx.save(model, path)
        wide = {tensor.name for tensor in model.graph.initializer if min(tensor.dims, default=0) >= MIN_INT8_WIDTH}
        narrow = [node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] not in wide]
        options: dict[str, Any] = {"op_types_to_quantize": ["MatMul"], "weight_type": QuantType.QInt8}
        with _quiet(""):  # it recommends an optimisation that would fuse layers away
            quantize_dynamic(path, path, per_channel=True, nodes_to_exclude=narrow, **options)


def _split_gemms(graph: onnx.GraphProto) -> None:
    """Replace ``x W^T + b`` by a product with a transposed weight and a sum.

    The quantiser would do the same, but transpose a weight once for each of the steps that share it.
    """
    gemm_weights = {node.input[1] for node in graph.node if node.op_type == "Gemm"}
    for tensor in graph.initializer:
        if tensor.name in gemm_weights:
            array = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor).T)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "Gemm":
            nodes.append(node)
            continue
        x, weight, *bias = node.input
        product = f"{node.output[0]}_product" if bias else node.output[0]
        nodes.append(onnx.helper.make_node("MatMul", [x, weight], [product], f"{node.name}_product"))
        if bias:
            nodes.append(onnx.helper.make_node("Add", [product, *bias], node.output, f"{node.name}_sum"))
    graph.ClearField("node")
    graph.node.extend(nodes)
    graph.ClearField("value_info")


@contextlib.contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    """Suppress the warnings of a logger, FutureWarnings, and torch's about an RNN's own list of its weights."""
    logger = logging.getLogger(logger_name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            warnings.filterwarnings("ignore", "The tensor attributes? ", UserWarning)
            yield
    finally:
        logger.setLevel(before)
