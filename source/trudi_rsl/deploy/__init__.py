# SPDX-License-Identifier: BSD-3-Clause
"""From a trained policy to files that a robot's software loads, and the runtime that runs them without PyTorch.

Importing this imports no torch: what exports a policy, which needs torch and the ``export`` extra, is loaded when it is
first used; :class:`Policy` needs numpy and onnxruntime alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trudi_rsl.deploy.contract import Contract, ContractError, ObservationTerm
    from trudi_rsl.deploy.control import LoopReport, control_loop
    from trudi_rsl.deploy.export import ExportError, ExportReport, export_checkpoint, export_policy
    from trudi_rsl.deploy.onnx_file import write_onnx
    from trudi_rsl.deploy.options import ExportOptions
    from trudi_rsl.deploy.runtime import Latency, Policy, PolicyStoppedError

_HOMES = {
    "contract": ("Contract", "ContractError", "ObservationTerm"),
    "control": ("LoopReport", "control_loop"),
    "export": ("ExportError", "ExportReport", "export_checkpoint", "export_policy"),
    "onnx_file": ("write_onnx",),
    "options": ("ExportOptions",),
    "runtime": ("Latency", "Policy", "PolicyStoppedError"),
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
    "control_loop",
    "export_checkpoint",
    "export_policy",
    "write_onnx",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
