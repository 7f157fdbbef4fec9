# SPDX-License-Identifier: BSD-3-Clause
"""From a trained policy to files that a robot's software loads; needs the ``export`` extra."""

from trudi_rsl.deploy.export import ExportReport, export_checkpoint, export_policy
from trudi_rsl.deploy.onnx_file import write_onnx
from trudi_rsl.deploy.parity import ExportError

__all__ = ["ExportError", "ExportReport", "export_checkpoint", "export_policy", "write_onnx"]
