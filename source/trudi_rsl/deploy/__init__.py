# SPDX-License-Identifier: BSD-3-Clause
"""From a trained policy to files for a robot, and a runtime that executes them without PyTorch.

Importing this package does not import torch. The exporter, which needs torch and the ``export`` extra, is loaded on
first use; :class:`Policy` needs only numpy and onnxruntime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trudi_rsl.deploy.contract import Contract, ContractError, ObservationTerm
    from trudi_rsl.deploy.export import ExportOptions, ExportReport, export_checkpoint, export_policy
    from trudi_rsl.deploy.onnx_file import Precision, write_onnx
    from trudi_rsl.deploy.parity import ExportError
    from trudi_rsl.deploy.runtime import Latency, LoopReport, Policy, PolicyStoppedError, control_loop

_MODULES = {
    **dict.fromkeys(("Contract", "ContractError", "ObservationTerm"), "contract"),
    **dict.fromkeys(("ExportOptions", "ExportReport", "export_checkpoint", "export_policy"), "export"),
    **dict.fromkeys(("Precision", "write_onnx"), "onnx_file"),
    **dict.fromkeys(("ExportError",), "parity"),
    **dict.fromkeys(("Latency", "LoopReport", "Policy", "PolicyStoppedError", "control_loop"), "runtime"),
}

__all__ = [
    "Contract",
    "ContractError",
    "ExportError",
    "ExportOptions",
    "ExportReport",
    "Latency",
    "LoopReport",
    "ObservationTerm",
    "Policy",
    "PolicyStoppedError",
    "Precision",
    "control_loop",
    "export_checkpoint",
    "export_policy",
    "write_onnx",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
