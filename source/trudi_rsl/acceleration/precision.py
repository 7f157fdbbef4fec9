# SPDX-License-Identifier: BSD-3-Clause
"""Precision of the networks' matrix products."""

from __future__ import annotations

import contextlib

import torch

from trudi_rsl.errors import ConfigError
from trudi_rsl.settings import Precision


def set_matmul_precision(precision: Precision, device: torch.device | str) -> None:
    """Allow or forbid TF32 in float32 matrix products on GPUs, for the whole process.

    Simulators enable TF32, some by PyTorch's new settings, while inductor reads the old ones; this sets both.

    Raises:
        ConfigError: If TF32 is requested without CUDA.
    """
    if torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
    elif precision == "tf32":
        raise ConfigError(f"algorithm.precision=tf32 needs a CUDA device, and this is {device}. Use fp32 or bf16.")


def network_precision(precision: Precision, device_type: str) -> contextlib.AbstractContextManager[object]:
    """Return a context in which matrix products have this precision and everything else stays float32.

    The networks' outputs are added to float32 tensors, so chains, log-probs, path KLs and targets are always float32.

    Args:
        precision: ``bf16`` rounds inputs and weights of matrix products, and needs no gradient scaling since its range
            is that of float32. The other two are set by :func:`set_matmul_precision`.
        device_type: ``cpu`` or ``cuda``.
    """
    if precision == "bf16":
        return torch.autocast(device_type, torch.bfloat16, cache_enabled=False)
    return contextlib.nullcontext()
