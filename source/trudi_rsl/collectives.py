# SPDX-License-Identifier: BSD-3-Clause
"""What the processes of one training tell each other; in a single process, tensors come back as they are."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_over_processes(x: Tensor) -> Tensor:
    """Return the mean of a floating-point tensor ``[...]`` over all processes, the same in each."""
    if not torch.distributed.is_initialized():
        return x
    total = x.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()


def of_all_processes(x: Tensor) -> Tensor:
    """Return the tensors ``[...]`` of all ``P`` processes in the order of their ranks, ``[P, ...]``."""
    if not torch.distributed.is_initialized():
        return x[None]
    everyones = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(everyones, x.contiguous())
    return torch.stack(everyones)
