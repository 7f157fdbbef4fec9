# SPDX-License-Identifier: BSD-3-Clause
"""Compiling and capturing pure functions of tensors, with a way back when it fails."""

from trudi_rsl.acceleration.accelerator import Accelerator, CompileMode
from trudi_rsl.acceleration.gradient import Gradient

__all__ = ["Accelerator", "CompileMode", "Gradient"]
