# SPDX-License-Identifier: BSD-3-Clause
"""Precision of the networks' matrix products."""

from __future__ import annotations

import contextlib

import torch

from trudi_rsl.errors import ConfigError
from trudi_rsl.settings import Precision


def set_matmul_precision(precision: Precision, device: torch.device | str) -> None:
    """Let float32 products on a GPU round to TF32, or not, for the whole process.

    Simulators turn TF32 on, some by PyTorch's new settings, while inductor reads the old ones; this sets both.

    Raises:
        ConfigError: TF32 is asked for where there is none.
    """
    if torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
    elif precision == "tf32":
        raise ConfigError(f"algorithm.precision=tf32 needs a CUDA device, and this is {device}. Use fp32 or bf16.")


def network_precision(precision: Precision, device_type: str) -> contextlib.AbstractContextManager[object]:
    """Return a context in which matrix products are of this precision and all else stays float32.

    What the networks return goes into sums with float32 tensors, so that chains, log-probs, path KLs and targets are
    float32 whatever the networks are.

    Args:
        precision: ``bf16`` rounds inputs and weights of matrix products, and needs no gradient scaling, as its range is
            that of float32. The other two are :func:`set_matmul_precision`'s.
        device_type: ``cpu`` or ``cuda``.
    """
    if precision == "bf16":
        return torch.autocast(device_type, torch.bfloat16, cache_enabled=False)
    return contextlib.nullcontext()
