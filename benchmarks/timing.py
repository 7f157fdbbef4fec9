# SPDX-License-Identifier: BSD-3-Clause
"""Times with quartiles, counted FLOPs, and the rate of a device's matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from trudi_rsl.acceleration import set_matmul_precision
from trudi_rsl.settings import Precision

WARM_UP = 4
"""Calls before timing: the first compiles, and the third is captured as a CUDA graph."""
LEAST_REPEATS = 5
BIG_GEMM = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of square matrices large enough for a device's best rate."""
GEMM_SECONDS = 0.5
"""Minimum time for which a matrix product is repeated."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call."""

    median: float
    q25: float
    q75: float
    repeats: int


def measured(call: Callable[[], Any], min_seconds: float) -> Timing:
    """Time a function after a warm-up, for at least ``min_seconds``, with a GPU sync if there is a GPU."""
    for _ in range(WARM_UP):
        synchronize()
        start = time.perf_counter()
        call()
        synchronize()
        once = time.perf_counter() - start
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    times = timer.blocked_autorange(min_run_time=max(min_seconds, LEAST_REPEATS * once)).times
    q25, median, q75 = (1e3 * float(q) for q in np.percentile(times, (25, 50, 75)))
    return Timing(median, q25, q75, len(times))


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def counted_flops(call: Callable[[], Any]) -> int:
    """Return the FLOPs of a function's matrix products, counted in eager mode."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@cache
def gemm_rate(precision: Precision, device: str, threads: int, rows: int, inner: int, columns: int) -> float:
    """Return the FLOP/s of a matrix product ``[rows, inner] @ [inner, columns]`` with torch's current threads."""
    assert threads == torch.get_num_threads()
    set_matmul_precision(precision, device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(inner, columns, device=device).to(dtype)
    out = torch.empty(rows, columns, device=device, dtype=dtype)
    timing = measured(lambda: torch.mm(left, right, out=out), GEMM_SECONDS)
    return 2e3 * rows * inner * columns / timing.median


def reached(timing: Timing, flops: int, precision: Precision, device: str, rows: int, width: int) -> dict[str, Any]:
    """Return a function's time, its FLOPs, and its rate relative to that of matrix products.

    Args:
        timing: Time of the function.
        flops: FLOPs of the function.
        precision: Precision of its matrix products.
        device: Device.
        rows: Rows of the network's largest products.
        width: Width of the network.
    """
    side, threads = BIG_GEMM[torch.device(device).type], torch.get_num_threads()
    rate = 1e3 * flops / timing.median
    return {
        "ms": asdict(timing),
        "flops": flops,
        "share_of_big_gemm": rate / gemm_rate(precision, device, threads, side, side, side),
        "share_of_own_gemm": rate / gemm_rate(precision, device, threads, rows, width, width),
    }
