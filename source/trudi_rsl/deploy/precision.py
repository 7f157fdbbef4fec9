# SPDX-License-Identifier: BSD-3-Clause
"""Storing an ONNX policy's weights in fewer bits."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx

from trudi_rsl.deploy.options import Precision

MIN_WIDTH = 128
"""Inputs and outputs of a product from which on 8 bits are worth the work of finding the input's scale."""


def reduce_precision(path: Path, precision: Precision) -> None:
    """Rewrite an ONNX policy in another precision; its inputs and outputs stay float32.

    In ``int8``, products with fewer than :data:`MIN_WIDTH` inputs or outputs stay in float32: those of the latent, and
    the last layer's, whose rounding would go straight into the action.

    Args:
        path: The file.
        precision: ``fp32`` leaves it as it is.
    """
    if precision == "fp16":
        _to_fp16(path)
    elif precision == "int8":
        _to_int8(path)


def _to_fp16(path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)


def _to_int8(path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    _split_gemms(model.graph)
    onnx.save(model, path)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    kept = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and min(shapes.get(node.input[1], (0,))) < MIN_WIDTH
    ]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises to optimise the graph first, which would fuse layers away
    try:
        quantize_dynamic(
            path,
            path,
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=kept,
        )
    finally:
        root.setLevel(level)


def _split_gemms(graph: onnx.GraphProto) -> None:
    """Write ``x W^T + b`` as a product with a turned weight and a sum.

    The quantiser would do so too, but turns a weight over once for every step that shares it.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    turned: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "Gemm":
            nodes.append(node)
            continue
        x, weight, *bias = node.input
        if weight not in turned:
            array = onnx.numpy_helper.to_array(weights[weight]).T
            weights[weight].CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), weight))
            turned.add(weight)
        product = f"{node.output[0]}_product" if bias else node.output[0]
        nodes.append(onnx.helper.make_node("MatMul", [x, weight], [product], f"{node.name}_product"))
        if bias:
            nodes.append(onnx.helper.make_node("Add", [product, *bias], node.output, f"{node.name}_sum"))
    graph.ClearField("node")
    graph.node.extend(nodes)
    graph.ClearField("value_info")
