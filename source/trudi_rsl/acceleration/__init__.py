# SPDX-License-Identifier: BSD-3-Clause
"""Compiling and capturing pure functions of tensors, with a fallback when it fails."""

from trudi_rsl.acceleration.accelerator import Accelerator, Gradient
from trudi_rsl.acceleration.cuda_graph import default_generator
from trudi_rsl.acceleration.packing import PackedModules
from trudi_rsl.acceleration.precision import (
    describe_precision,
    network_precision,
    resolve_precision,
    set_matmul_precision,
)

__all__ = [
    "Accelerator",
    "Gradient",
    "PackedModules",
    "default_generator",
    "describe_precision",
    "network_precision",
    "resolve_precision",
    "set_matmul_precision",
]
