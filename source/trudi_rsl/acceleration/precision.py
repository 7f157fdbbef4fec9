# SPDX-License-Identifier: BSD-3-Clause
"""Precision of the networks' matrix products."""

from __future__ import annotations

import contextlib

import torch

from trudi_rsl.errors import ConfigError
from trudi_rsl.settings import Precision

AMPERE = (8, 0)
"""Lowest compute capability of GPUs with TF32 and bfloat16 products."""


def resolve_precision(precision: Precision, device: torch.device | str) -> Precision:
    """Return the precision that a setting means on a device: for ``auto`` TF32 on GPUs that have it, else float32.

    Raises:
        ConfigError: If the device has no such products.
    """
    device = torch.device(device)
    on_gpu = device.type == "cuda"
    has_tf32 = on_gpu and torch.cuda.get_device_capability(device) >= AMPERE
    if precision == "auto":
        return "tf32" if has_tf32 else "fp32"
    if precision == "tf32" and not on_gpu:
        choices = "Use auto, fp32 or bf16."
        raise ConfigError(f"algorithm.precision=tf32 needs a CUDA device, and this is {device}. {choices}")
    if precision in ("tf32", "bf16") and on_gpu and not has_tf32:
        major, minor = torch.cuda.get_device_capability(device)
        raise ConfigError(
            f"algorithm.precision={precision} needs a GPU of compute capability 8.0 or higher; {device} "
            f"({torch.cuda.get_device_name(device)}) has {major}.{minor}. Use auto or fp32."
        )
    return precision


def set_matmul_precision(precision: Precision, device: torch.device | str) -> None:
    """Allow or forbid TF32 in float32 matrix products on GPUs, for the whole process; on a CPU nothing is changed.

    Simulators enable TF32, some by PyTorch's new settings, while inductor reads the old ones; this sets both.

    Raises:
        ConfigError: See :func:`resolve_precision`.
    """
    resolved = resolve_precision(precision, device)
    if torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("highest" if resolved == "fp32" else "high")


def describe_precision(precision: Precision, device: torch.device | str) -> str:
    """Return a sentence about reduced precision, empty for float32."""
    names = {"tf32": "TF32", "bf16": "bfloat16"}
    resolved = resolve_precision(precision, device)
    return f" Matrix products are in {names[resolved]} (algorithm.precision={precision})." if resolved in names else ""


def network_precision(precision: Precision, device_type: str) -> contextlib.AbstractContextManager[object]:
    """Return a context in which matrix products have this precision and everything else stays float32.

    The networks' outputs are added to float32 tensors, so chains, log-probs, path KLs and targets are always float32.

    Args:
        precision: ``bf16`` rounds inputs and weights of matrix products, and needs no gradient scaling since its range
            is that of float32. The others are set by :func:`set_matmul_precision`.
        device_type: ``cpu`` or ``cuda``.
    """
    if precision == "bf16":
        return torch.autocast(device_type, torch.bfloat16, cache_enabled=False)
    return contextlib.nullcontext()
